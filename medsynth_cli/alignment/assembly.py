"""From a pool to a codebook: quality control, and what the codebook says of how it was built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth_cli.alignment import quality
from medsynth_cli.alignment.codebook import Codebook, spoken
from medsynth_cli.errors import Exit, MedsynthError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.alignment.pool import Pool
    from medsynth_cli.alignment.quality import Entry, Rules

NOT_SEEN = "no image shows it"


def chosen(pool: Pool, rules: Rules) -> list[Entry]:
    """The entry of each word of a settled pool."""
    return [quality.choose(pool.of_word(number), rules) for number in range(len(pool.floors))]


def kept(entries: Sequence[Entry], rules: Rules) -> list[int]:
    """Numbers of the words whose entries have enough patients.

    Raises:
        MedsynthError: there are none.
    """
    found = [n for n, entry in enumerate(entries) if len(entry.rows) and entry.patients >= rules.min_patients]
    if found:
        return found
    if any(len(entry.rows) for entry in entries):
        most = max(entry.patients for entry in entries)
        raise MedsynthError(
            f"no word has patches of {rules.min_patients} patients; at most {most}", "--min-patients asks for fewer"
        )
    hint = "the metadata needs a field labels or report; docs/formats.md has the data sets that are read"
    raise MedsynthError("no image shows a word of the vocabulary", hint, Exit.NOTHING_DONE)


def assemble(
    words: Sequence[tuple[str, str]],
    entries: Sequence[Entry],
    rules: Rules,
    codes: Mapping[int, NDArray[np.uint16]],
    settings: Mapping[str, Any],
    counts: Mapping[str, int],
) -> Codebook:
    """Make the codebook.

    Args:
        words: (term, side) of each entry.
        entries: from `chosen`.
        rules: by which they were chosen.
        codes: image -> its codes ``(g, g)``, for all chosen patches.
        settings: what shapes the codebook; kept in it.
        counts: what was read; kept in it.
    """
    numbers = kept(entries, rules)
    rows = np.concatenate([entries[number].rows for number in numbers])
    images = list(dict.fromkeys(rows["image"].tolist()))
    place = {image: index for index, image in enumerate(images)}
    patient_of = dict(zip(rows["image"].tolist(), rows["patient"].tolist(), strict=True))
    patients = {name: index for index, name in enumerate(dict.fromkeys(patient_of[image] for image in images))}
    about = {
        "settings": dict(settings),
        "counts": dict(counts),
        "entries": [_told(entries[number]) for number in numbers],
        "dropped": [_dropped(words[n], entry, rules) for n, entry in enumerate(entries) if n not in numbers],
    }
    return Codebook(
        words=tuple(words[number] for number in numbers),
        starts=np.cumsum([0, *(len(entries[number].rows) for number in numbers)]),
        at=rows["at"].astype(np.int64),
        score=rows["score"],
        image=np.array([place[image] for image in rows["image"].tolist()]),
        codes=np.stack([codes[image] for image in images]).astype(np.int64),
        embedding=rows["vector"].astype(np.float32),
        source=tuple(f"{image:016x}" for image in images),
        patch=int(settings["patch"]),
        sha256="",
        tokenizer_sha256=str(settings["tokenizer_sha256"]),
        patient=np.array([patients[patient_of[image]] for image in images]),
        about=about,
    )


def notes(codebook: Codebook) -> list[str]:
    """What people should know of a codebook that was just built: one line each."""
    dropped = codebook.about["dropped"]
    found = [f"dropped: {spoken(one['term'], one['side'])}, {one['reason']}" for one in dropped if one["patches"]]
    unseen = sum(not one["patches"] for one in dropped)
    if unseen:
        found.append(f"{unseen} words have no patch, since {NOT_SEEN}; medsynth codebook stats names them")
    k1 = codebook.about["settings"]["k1"]
    for number, ((term, side), told) in enumerate(zip(codebook.words, codebook.about["entries"], strict=True)):
        if told["cut_short"]:
            count = int(codebook.starts[number + 1] - codebook.starts[number])
            why = f"of {quality.POOLED * k1} pooled candidates, {told['near_duplicates']} are near-duplicates"
            more = f"and {told['crowded']} of patients who have enough; --per-patient allows more"
            found.append(f"short: {spoken(term, side)}, {count} of {k1} patches: {why} {more}")
    return found


def _told(entry: Entry) -> dict[str, Any]:
    return {
        "patients": entry.patients,
        "near_duplicates": entry.alike,
        "crowded": entry.crowded,
        "cut_short": entry.cut_short,
    }


def _dropped(word: tuple[str, str], entry: Entry, rules: Rules) -> dict[str, Any]:
    few = f"{entry.patients} of {rules.min_patients} patients"
    told = {"patches": len(entry.rows), "patients": entry.patients, "reason": few if len(entry.rows) else NOT_SEEN}
    return {"term": word[0], "side": word[1] or None} | told
