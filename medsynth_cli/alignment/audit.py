"""Auditing images for patches of a codebook that were copied into them.

Some patches are like many places of many images. What is like each patch by chance is read off the codebook's own
source images, decoded and encoded again as a generated image is, with the patches of other patients. A copy is as
far above that as at most 1 in 100 of those images has any patch. Shapes: N patches, I images, g grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from medsynth_cli.alignment.copies import likeness, vectors_of
from medsynth_cli.errors import MedsynthError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from rich.console import Console

    from medsynth_cli.alignment.codebook import Codebook
    from medsynth_cli.files.records import Record
    from medsynth_cli.tokens.vqgan import Vqgan

KIND = "codebook-audit"
CHANCE = 0.01
"""Share of images of other patients in which a patch passes for copied."""
STRANGERS, FEWEST = 400, 50
"""Source images that chance is read off, and how many it takes."""
USUAL = 0.9
"""The likeness of a patch that this share of images stays below is usual for it."""
AT_ONCE = 16
LISTED = 12
"""Copies in the table."""


@dataclass(frozen=True)
class Chance:
    """What is like patches by chance.

    Attributes:
        usual: float32 ``(N,)``, usual likeness of each patch; see `copies.likeness`.
        bar: how far above that a copy is.
        images: how many images that was read off.
    """

    usual: NDArray[np.float32]
    bar: float
    images: int


class Auditor:
    """Looks for the patches of a codebook.

    Args:
        codebook: the codebook.
        tokenizer: the tokenizer of its codes.
        encode: uint8 ``(B, H, W)`` -> codes ``(B, g²)``, as the images to be audited are encoded.

    Raises:
        MedsynthError: the codebook has too few source images to tell chance.
    """

    def __init__(
        self, codebook: Codebook, tokenizer: Vqgan, encode: Callable[[NDArray[np.uint8]], NDArray[Any]]
    ) -> None:
        self.codebook, self._table = codebook, tokenizer.quantize.embedding.weight
        patches = np.stack([codebook.patch_codes(entry) for entry in range(len(codebook.at))])
        self._patches = vectors_of(self._table, torch.from_numpy(patches).to(self._table.device))
        self.chance = self._strangers(tokenizer, encode)

    def audit(self, codes: NDArray[np.integer], meta: Sequence[Record]) -> Record:
        """Find copies.

        Args:
            codes: of images, ``(I, g²)``.
            meta: what is known of each: ``id``, and ``key_patches`` if it was generated with some.

        Returns:
            A ``codebook-audit`` record; its ``found`` lists copies, the surest first.
        """
        found = []
        for start in range(0, len(codes), AT_ONCE):
            z, places = self._look(codes[start : start + AT_ONCE])
            excess = z - self.chance.usual
            for image, entry in np.argwhere(excess > self.chance.bar):
                at = divmod(int(places[image, entry]), self._places)
                found.append(self._copy(meta[start + image], int(entry), at, excess[image, entry], z[image, entry]))
        found.sort(key=lambda copy: (-copy["excess"], copy["id"], copy["entry"]))
        copied = len({copy["id"] for copy in found})
        return {
            "kind": KIND,
            "codebook_sha256": self.codebook.sha256,
            "images": len(codes),
            "copied": copied,
            "by_chance": {"share": CHANCE, "images": self.chance.images, "bar": round(self.chance.bar, 4)},
            "found": found,
        }

    @property
    def _places(self) -> int:
        return int(self.codebook.codes.shape[1] - self.codebook.patch + 1)

    def _copy(self, meta: Record, entry: int, at: tuple[int, int], excess: float, z: float) -> dict[str, Any]:
        name = self.codebook.name(entry)
        shown = [patch.get("entry") for patch in meta.get("key_patches") or []]
        return {
            "id": str(meta["id"]),
            "entry": name,
            "shown": name in shown if shown else None,
            "at": list(at),
            "likeness": round(float(np.tanh(z)), 4),
            "excess": round(float(excess), 4),
        }

    @torch.inference_mode()
    def _look(self, codes: NDArray[np.integer]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Likeness and places ``(B, N)`` of images with codes ``(B, g²)``."""
        side = self.codebook.codes.shape[1]
        grids = torch.from_numpy(codes.reshape(-1, side, side).astype(np.int64)).to(self._table.device)
        z, places = likeness(vectors_of(self._table, grids), self._patches)
        return z.cpu().numpy(), places.cpu().numpy()

    def _strangers(self, tokenizer: Vqgan, encode: Callable[[NDArray[np.uint8]], NDArray[Any]]) -> Chance:
        from medsynth_cli.runtime.conversion import to_images

        book = self.codebook
        if len(book.source) < FEWEST:
            raise MedsynthError(f"{len(book.source)} source images say too little of chance", f"needs {FEWEST}")
        chosen = np.unique(np.linspace(0, len(book.source) - 1, STRANGERS).astype(int))
        owner = book.patient if len(book.patient) else np.arange(len(book.source))
        known = []
        for start in range(0, len(chosen), AT_ONCE):
            part = chosen[start : start + AT_ONCE]
            decoded = to_images(tokenizer.decode(torch.from_numpy(book.codes[part]).to(self._table.device)))
            z, _ = self._look(encode(decoded))
            z[owner[part][:, None] == owner[book.image][None]] = np.nan
            known.append(z)
        return chance_of(np.concatenate(known))


def chance_of(z: NDArray[np.float32]) -> Chance:
    """What is usual for N patches, and the bar, from their likeness to I images of other patients ``(I, N)`` or NaN.

    The images that say what is usual are less unusual than others: the bar is read off either half by what is usual
    in the other one.
    """
    usual = [np.nanquantile(z[half::2], USUAL, axis=0) for half in (0, 1)]
    highest = np.concatenate([np.nanmax(z[half::2] - usual[1 - half], axis=1) for half in (0, 1)])
    whole = np.nanquantile(z, USUAL, axis=0).astype(np.float32)
    return Chance(whole, float(np.quantile(highest, 1 - CHANCE)), len(z))


def show(record: Record, console: Console) -> None:
    """A table of the surest copies, and what would be found by chance."""
    from rich.table import Table

    images, chance = record["images"], record["by_chance"]["share"]
    console.print(
        f"patches of the codebook in {record['copied']} of {images} images; by chance about {images * chance:.0f}"
    )
    if record["found"]:
        table = Table("image", "patch", "row, column", "likeness", "was it shown the patch?")
        for copy in record["found"][:LISTED]:
            shown = {True: "yes", False: "no", None: "not known"}[copy["shown"]]
            at = f"{copy['at'][0]}, {copy['at'][1]}"
            table.add_row(copy["id"], copy["entry"], at, f"{copy['likeness']:.3f}", shown)
        console.print(table)
