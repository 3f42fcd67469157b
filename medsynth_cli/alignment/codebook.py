"""The visual codebook: for each word, the patches of real images that match it best.

Files: ``codebook.safetensors`` (tensors below) and ``codebook.jsonl`` (one line a patch, for people and
other programs). The same codebook makes the same bytes. Shapes: N patches, M source images, p side of a patch, g
grid, E embedding.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import atomic
from medsynth_cli.runtime import bundles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medsynth_cli.runtime.bundles import Bundle

PART = "codebook"
TENSORS = "codebook.safetensors"
LINES = "codebook.jsonl"
META = "codebook"
"""The one key of the file's metadata: safetensors writes several in random order."""


@dataclass(frozen=True)
class Codebook:
    """The patches of all words, those of a word together and best first.

    Attributes:
        words: (term, side) of each word; side is empty for a word without one.
        starts: int64 ``(words + 1,)``: word i has patches ``starts[i] : starts[i + 1]``.
        at: int64 ``(N, 2)``: row and column of a patch's upper left code.
        score: float32 ``(N,)``: cosine of word and patch.
        image: int64 ``(N,)``: source image, [0, M).
        codes: int64 ``(M, g, g)``: codes of the source images.
        embedding: float32 ``(N, E)``.
        source: M identifiers of the source images.
        patch: side of a patch, in codes.
        sha256: hash of the tensors' file.
        tokenizer_sha256: hash of the tokenizer that wrote the codes; see `Bundle.tokenizer_sha256`.
        patient: int64 ``(M,)``: number of the patient of a source image; empty if the file does not tell.
        about: how it was built: ``settings``, ``counts``, ``entries``, ``dropped``; see `assembly`. Empty in old files.
    """

    words: tuple[tuple[str, str], ...]
    starts: NDArray[np.int64]
    at: NDArray[np.int64]
    score: NDArray[np.float32]
    image: NDArray[np.int64]
    codes: NDArray[np.int64]
    embedding: NDArray[np.float32]
    source: tuple[str, ...]
    patch: int
    sha256: str
    tokenizer_sha256: str
    patient: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    about: dict[str, Any] = field(default_factory=dict)

    def entries(self, term: str, side: str | None) -> range:
        """Patches of a word; of its other side-less form if it has none of that side."""
        for wanted in ((term, side or ""), (term, "")):
            if wanted in self.words:
                number = self.words.index(wanted)
                return range(int(self.starts[number]), int(self.starts[number + 1]))
        return range(0)

    def patch_codes(self, entry: int) -> NDArray[np.int64]:
        """Codes of a patch: int64 ``(p, p)``."""
        row, column = self.at[entry]
        codes: NDArray[np.int64] = self.codes[self.image[entry]][row : row + self.patch, column : column + self.patch]
        return codes

    def patients(self, entries: range) -> int | None:
        """How many patients some patches are of; None if the file does not tell."""
        return len(np.unique(self.patient[self.image[entries]])) if len(self.patient) else None

    def box_px(self, entry: int) -> list[int] | None:
        """A patch in its source image: x, y, width, height in px of the square that was read; None if not told."""
        size = self.about.get("settings", {}).get("size_px")
        if size is None:
            return None
        cell = size // self.codes.shape[1]
        row, column = self.at[entry].tolist()
        return [column * cell, row * cell, self.patch * cell, self.patch * cell]

    def name(self, entry: int) -> str:
        """Name of a patch, such as ``pleural_effusion.left.0007``."""
        word = int(np.searchsorted(self.starts, entry, side="right")) - 1
        term, side = self.words[word]
        return f"{term}.{side or 'any'}.{entry - int(self.starts[word]):04d}"


def save(folder: Path, codebook: Codebook) -> None:
    """Write both files of a codebook."""
    from safetensors.numpy import save as to_bytes

    meta = {
        "words": codebook.words,
        "source": codebook.source,
        "patch": codebook.patch,
        "tokenizer_sha256": codebook.tokenizer_sha256,
        "about": codebook.about,
    }
    tensors: dict[str, NDArray[Any]] = {
        "starts": codebook.starts.astype(np.int32),
        "at": codebook.at.astype(np.uint8),
        "score": codebook.score.astype(np.float16),
        "image": codebook.image.astype(np.int32),
        "codes": codebook.codes.astype(np.uint16),
        "embedding": codebook.embedding.astype(np.float16),
        "patient": codebook.patient.astype(np.int32),
    }
    atomic.write_text(folder / LINES, "".join(json.dumps(line) + "\n" for line in lines(codebook)))
    atomic.write_bytes(folder / TENSORS, to_bytes(tensors, metadata={META: json.dumps(meta, sort_keys=True)}))


def place(folder: Path, codebook: Codebook) -> None:
    """Write a codebook to a folder; where that is a bundle, it becomes the bundle's own.

    Raises:
        MedsynthError: the bundle has another tokenizer.
    """
    if not (folder / bundles.MANIFEST).is_file():
        save(folder, codebook)
        return
    bundle = bundles.load(str(folder))
    if bundle.tokenizer_sha256 != codebook.tokenizer_sha256:
        raise MedsynthError(f"{folder}: bundle {bundle.name} has another tokenizer", "name another folder with -o")
    save(folder, codebook)
    size = int(bundle.config("tokenizer")["num_vq_embeddings"])
    config = {"codes": size, "tokenizer_sha256": codebook.tokenizer_sha256, "patches": len(codebook.at)}
    bundles.register(bundle, PART, TENSORS, config)


def lines(codebook: Codebook) -> list[dict[str, Any]]:
    """One object a patch, as in ``codebook.jsonl``."""
    return [
        {
            "entry": codebook.name(entry),
            "term": term,
            "side": side or None,
            "score": round(float(codebook.score[entry]), 4),
            "at": codebook.at[entry].tolist(),
            "box": codebook.box_px(entry),
            "codes": codebook.patch_codes(entry).tolist(),
            "source": codebook.source[int(codebook.image[entry])],
            "patient": int(codebook.patient[codebook.image[entry]]) if len(codebook.patient) else None,
        }
        for word, (term, side) in enumerate(codebook.words)
        for entry in range(int(codebook.starts[word]), int(codebook.starts[word + 1]))
    ]


def spoken(term: str, side: str | None) -> str:
    """A word of a codebook as people write it, such as "left pleural effusion"."""
    return " ".join(filter(None, (side, term.replace("_", " "))))


def load(folder: Path) -> Codebook:
    """Read a codebook folder.

    Raises:
        MedsynthError: there is none, or it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / TENSORS
    if not path.is_file():
        raise MedsynthError(f"{path}: no such codebook", "make one with: medsynth codebook build DATA -o DIR")
    try:
        with safe_open(path, framework="numpy") as handle:
            meta, tensor = _meta(handle.metadata()), handle.get_tensor
            return Codebook(
                words=tuple((term, side) for term, side in meta["words"]),
                starts=tensor("starts").astype(np.int64),
                at=tensor("at").astype(np.int64),
                score=tensor("score").astype(np.float32),
                image=tensor("image").astype(np.int64),
                codes=tensor("codes").astype(np.int64),
                embedding=tensor("embedding").astype(np.float32),
                source=tuple(meta["source"]),
                patch=int(meta["patch"]),
                sha256=bundles.file_sha256(path),
                tokenizer_sha256=meta["tokenizer_sha256"],
                patient=tensor("patient").astype(np.int64) if meta["about"] else np.empty(0, np.int64),
                about=meta["about"],
            )
    except (SafetensorError, KeyError, ValueError) as error:
        raise MedsynthError(f"{path}: not a codebook ({error})") from error


def _meta(stored: dict[str, str]) -> dict[str, Any]:
    """What the file says of itself; in old files each field is a key, and there is no ``about``."""
    if META in stored:
        return dict(json.loads(stored[META]))
    parsed = {name: json.loads(stored[name]) for name in ("words", "source", "patch")}
    return parsed | {"tokenizer_sha256": stored["tokenizer_sha256"], "about": {}}


def of(bundle: Bundle, folder: Path | None) -> Codebook:
    """The codebook in ``folder``, or the bundle's own; it must fit the bundle's tokenizer."""
    codebook = load(folder) if folder else load(bundle.file(PART).parent)
    if codebook.tokenizer_sha256 != bundle.tokenizer_sha256:
        raise MedsynthError(
            f"{folder or bundle.folder}: this codebook was made with another tokenizer than bundle {bundle.name}",
            "rebuild it with --bundle",
        )
    return codebook
