"""From the counts of a corpus to the terms of a vocabulary, as rows that a person can review."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from medsynth_cli.text.matching import plain
from medsynth_cli.text.tally import ABSENT, MENTIONED, PRESENT, UNCERTAIN, Tally
from medsynth_cli.text.vocabulary import ANATOMY, PATHOLOGY, Term, Vocabulary, words

KEEP, DROP, MERGE, SUGGEST = "keep", "drop", "merge", "suggest"
DECISIONS = (KEEP, DROP, MERGE, SUGGEST)
"""``suggest`` is a phrase that the vocabulary lacks; it is left out until somebody writes keep or merge instead."""

_COMMONLY_DENIED = 0.05
"""Share of the reports that deny a finding from which on it is `Term.common`."""
_SIDED = 0.05
"""Share of the reports with a new finding that must give its side for it to have sides."""
_PLACED = 0.03
"""Share of the reports with a finding that must see it in a place for that to be one of its places."""
_INSIDE = 0.8
"""A phrase that this share of the time is part of a longer one is left to that one."""


@dataclass(frozen=True)
class Thresholds:
    """What is frequent enough.

    Attributes:
        reports: least number of reports that a term or synonym must be in. It also keeps what only few patients have,
            names among it, out of every file.
        share: least share of all reports, for terms.
        suggestions: most phrases that are suggested for each kind.
    """

    reports: int = 5
    share: float = 0.0
    suggestions: int = 200


@dataclass(frozen=True)
class Row:
    """A term, or a phrase that might become one, with what the corpus says of it.

    Attributes:
        decision: one of `DECISIONS`.
        merge_into: key of the term that it becomes a synonym of, for ``merge``.
        term: what it is, if it is kept.
        counts: reports that mention it; in which it is present, absent, uncertain.
        lexicon: whether only reports are read with it.
        note: why it is there, or why it is not kept.
    """

    decision: str
    term: Term
    counts: Mapping[str, int]
    merge_into: str = ""
    lexicon: bool = False
    note: str = ""


def rows(tally: Tally, base: Vocabulary, thresholds: Thresholds) -> list[Row]:
    """Every term of the base vocabulary, and frequent phrases that it lacks.

    A term is kept if enough reports mention it, and anatomy also if a kept pathology sits in it. Its synonyms are those
    of the base, frequent ones first; its anatomy is where the corpus sees it, likeliest first.
    """
    least = max(thresholds.reports, thresholds.share * tally.reports)
    forms = _forms(tally)
    known = [_known(term, tally, base, forms[term.key], thresholds, least) for term in base.terms.values()]
    needed = _needed([row.term for row in known if row.decision == KEEP], base)
    known = [
        replace(row, decision=KEEP, note="a kept term sits in it")
        if row.decision == DROP and row.term.key in needed
        else row
        for row in known
    ]
    there = {row.term.key for row in known if row.decision == KEEP}
    known = [replace(row, term=_without(row.term, there)) for row in known]
    return known + list(_new(tally, base, thresholds, least))


def kept(decided: Iterable[Row]) -> list[Row]:
    """The rows that are kept, with the names and synonyms of those that are merged into them."""
    decided = list(decided)
    merged = dict[str, list[str]]()
    for row in decided:
        if row.decision == MERGE:
            merged.setdefault(row.merge_into, []).extend((row.term.name, *row.term.synonyms))
    found = []
    for row in decided:
        if row.decision == KEEP:
            own = {words(phrase) for phrase in row.term.phrases}
            more = _distinct(merged.get(row.term.key, ()), own)
            found.append(replace(row, term=replace(row.term, synonyms=(*row.term.synonyms, *more))))
    return found


def statistics(tally: Tally, found: Iterable[Row], thresholds: Thresholds) -> dict[str, Any]:
    """Frequencies, places, sides, severities and co-occurrence of terms, as JSON values.

    Counts from 1 to below ``thresholds.reports`` are left out, so that none describes few patients.
    """
    least, keys = thresholds.reports, {row.term.key: row.term.kind for row in found}

    def frequent(counts: Mapping[str, int]) -> dict[str, int]:
        pairs = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        return {key: count for key, count in pairs if count >= least}

    together = dict[str, dict[str, int]]()
    for (one, other), count in sorted(tally.together.items()):
        if count >= least and one in keys and other in keys:
            together.setdefault(one, {})[other] = count
    entries = dict[str, dict[str, Any]]()
    for key, kind in keys.items():
        counts = _counts(tally, key, kind) | {"mentions": tally.mentions[key]}
        entries[key] = {"kind": kind} | {what: n for what, n in counts.items() if not 0 < n < least}
        if kind == PATHOLOGY:
            entries[key] |= {"sides": frequent(tally.sides[key]), "severities": frequent(tally.severities[key])}
    located = {key: {a: n for a, n in frequent(tally.located[key]).items() if a in keys} for key in keys}
    return {
        "reports": tally.reports,
        "empty": tally.empty,
        "thresholds": {"reports": least, "share": thresholds.share},
        "findings": _histogram(tally.findings, least),
        "terms": entries,
        "located": {key: places for key, places in located.items() if places},
        "together": together,
    }


def _histogram(counts: Mapping[int, int], least: int) -> dict[str, int]:
    """Number of findings -> reports, the rare high numbers counted as the highest that is frequent."""
    found, carried = dict[str, int](), 0
    for number in sorted(counts, reverse=True):
        carried += counts[number]
        if carried >= least:
            found[str(number)], carried = carried, 0
    return dict(reversed(found.items()))


def _known(
    term: Term, tally: Tally, base: Vocabulary, forms: Mapping[str, int], thresholds: Thresholds, least: float
) -> Row:
    counts = _counts(tally, term.key, term.kind)
    changed = replace(term, synonyms=_synonyms(term, forms), anatomy=_places(term, tally, base, thresholds))
    if term.kind == PATHOLOGY:
        changed = replace(changed, common=counts[ABSENT] >= max(_COMMONLY_DENIED * tally.reports, least))
    enough = counts[MENTIONED] >= least
    note = "" if enough else "too few reports mention it"
    return Row(KEEP if enough else DROP, changed, counts, lexicon=term.key in base.lexicon, note=note)


def _forms(tally: Tally) -> defaultdict[str, dict[str, int]]:
    """How each term is written."""
    found = defaultdict[str, dict[str, int]](dict)
    for (key, form), count in tally.forms.items():
        found[key][form] = count
    return found


def _counts(tally: Tally, key: str, kind: str) -> dict[str, int]:
    said = (MENTIONED, PRESENT, ABSENT, UNCERTAIN) if kind == PATHOLOGY else (MENTIONED,)
    return {what: tally.documents[key][what] for what in said}


def _synonyms(term: Term, forms: Mapping[str, int]) -> tuple[str, ...]:
    """Those of the base, frequent ones first."""
    seen = Counter[tuple[str, ...]]()
    for form, count in forms.items():
        seen[plain(words(form))] += count
    return tuple(sorted(term.synonyms, key=lambda phrase: -seen[plain(words(phrase))]))


def _places(term: Term, tally: Tally, base: Vocabulary, thresholds: Thresholds) -> tuple[str, ...]:
    """Where a corpus sees a pathology, then where the base says that it may be."""
    least = max(thresholds.reports, _PLACED * tally.documents[term.key][PRESENT])
    seen = [a for a, n in tally.located[term.key].most_common() if n >= least and a in base.terms]
    return tuple(dict.fromkeys((*seen, *term.anatomy)))


def _needed(kept: Iterable[Term], base: Vocabulary) -> set[str]:
    """Anatomy that kept terms refer to, and what it is part of."""
    needed = {key for term in kept for key in (*term.anatomy[:1], term.part_of) if key}
    while True:
        more = {base.terms[key].part_of for key in needed} - needed - {None}
        if not more:
            return needed
        needed |= {key for key in more if key}


def _without(term: Term, kept: set[str]) -> Term:
    """A term that refers to kept anatomy only."""
    return replace(term, anatomy=tuple(key for key in term.anatomy if key in kept))


def _new(tally: Tally, base: Vocabulary, thresholds: Thresholds, least: float) -> Iterator[Row]:
    """Frequent phrases that no term covers, of the kind that they mostly are."""
    totals, as_anatomy = Counter[str](), Counter[str]()
    for (phrase, kind), count in tally.phrases.items():
        totals[phrase] += count
        as_anatomy[phrase] += count if kind == ANATOMY else 0
    frequent = {phrase: count for phrase, count in totals.items() if count >= least}
    longer = dict[str, int]()
    for phrase, count in frequent.items():
        parts = phrase.split()
        for part in {" ".join(parts[:-1]), " ".join(parts[1:])} if len(parts) > 1 else ():
            longer[part] = max(longer.get(part, 0), count)
    given = Counter[str]()
    for phrase, count in sorted(frequent.items(), key=lambda pair: (-pair[1], pair[0])):
        kind = ANATOMY if as_anatomy[phrase] * 2 > count else PATHOLOGY
        key = re.sub(r"[^a-z0-9]+", "_", phrase).strip("_")
        clash = base.find(phrase) is not None or key in base.terms or not re.fullmatch(r"[a-z][a-z0-9_]*", key)
        if clash or longer.get(phrase, 0) >= _INSIDE * count or given[kind] == thresholds.suggestions:
            continue
        given[kind] += 1
        term = Term(key, phrase, kind, (), (), False, None)
        yield Row(SUGGEST, term, {MENTIONED: count}, note="in the corpus, not in the vocabulary")


def _distinct(phrases: Iterable[str], known: set[tuple[str, ...]]) -> Iterator[str]:
    """Phrases that differ from the known ones and from each other in more than plurals."""
    seen = set(known)
    for phrase in phrases:
        if words(phrase) and words(phrase) not in seen and plain(words(phrase)) not in seen:
            seen |= {words(phrase), plain(words(phrase))}
            yield phrase
