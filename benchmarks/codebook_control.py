"""What quality control and audit of codebooks find: parts of ``benchmarks/codebook.py``."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medsynth_cli import modality
from medsynth_cli.alignment import build, codebook, pool, quality
from medsynth_cli.alignment import markers as marking
from medsynth_cli.alignment.audit import Auditor
from medsynth_cli.alignment.pool import CELL, MARGIN
from medsynth_cli.alignment.quality import Rules
from medsynth_cli.alignment.request import Request
from medsynth_cli.files import datasets, records
from medsynth_cli.metrics.observers import Observers
from medsynth_cli.runtime import bundles
from medsynth_cli.runtime.conversion import to_images
from medsynth_cli.runtime.progress import Progress
from medsynth_cli.text import vocabulary

CPU = torch.device("cpu")
GRID, PATCH, SIZE_PX = 16, 3, 256
IMAGES = 300
TEXTS = ("L", "R", "PORTABLE", "AP ERECT", "DOE^JANE", "1951-03-12", "SEMI UPRIGHT", "ID 4711")
Picture = NDArray[np.uint8]


def _jpeg(image: Picture, grade: int) -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=grade)
    return np.asarray(Image.open(buffer))


def _resized(image: Picture, size: int) -> Picture:
    small = Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(small.resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR))


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "JPEG 75": lambda x: _jpeg(x, 75),
    "JPEG 40": lambda x: _jpeg(x, 40),
    "contrast 0.8": lambda x: (x * 0.8 + 20).astype(np.uint8),
    "gamma 1.3": lambda x: (255 * (x / 255) ** 1.3).astype(np.uint8),
    "224 px and back": lambda x: _resized(x, 224),
    "shift of 1 px": lambda x: np.roll(x, (1, 1), (0, 1)),
    "shift of 2 px": lambda x: np.roll(x, (2, 2), (0, 1)),
    "shift of 4 px": lambda x: np.roll(x, (4, 4), (0, 1)),
}


def labelled(shard: Path) -> list[Picture]:
    """Labelled radiographs."""
    items = (item for item in datasets.read([shard]) if item.meta.get("labels"))
    return [item.pixels(SIZE_PX) for item, _ in zip(items, range(IMAGES), strict=False)]


def near_duplicates(shard: Path, folder: Path) -> list[str]:
    """Copies of patches that are found, and patches that are taken for copies of another patient's."""
    images, random = labelled(shard), np.random.default_rng(0)
    places = [tuple(random.integers(2, 12, 2)) for _ in images]
    plain = np.stack([_thumbnail(image, place) for image, place in zip(images, places, strict=True)])
    found = []
    for name, change in CHANGES.items():
        changed = np.stack([_thumbnail(change(image), place) for image, place in zip(images, places, strict=True)])
        hits = [quality.alike(np.stack(pair))[0, 1] for pair in zip(plain, changed, strict=True)]
        found.append(f"{name} {np.mean(hits):.0%}")
    bundle, known = bundles.load("cxr-mini"), vocabulary.load(modality.find("chest_xray"))
    request = Request((shard,), (1, 1), Rules(64, 25, 1))
    building = build.Build(request, bundle, known, folder, CPU, records.Failures())
    with Progress("") as progress:
        building.run(progress)
    candidates, _, _ = pool.load(building.result)
    strange, whole = 0, len(candidates.rows)
    for number in range(len(candidates.floors)):
        rows = candidates.of_word(number)
        if len(rows):
            others = rows["patient"][:, None] != rows["patient"]
            strange += int((quality.alike(rows["thumbnail"]) & others).any(axis=0).sum())
    return [
        f"| copies of patches found as near-duplicates (bar {quality.ALIKE}) | | {', '.join(found)} |",
        f"| patches like one of another patient, of the same word | | {strange} of {whole:,} ({strange / whole:.1%}) |",
    ]


def _thumbnail(image: Picture, place: tuple[int, ...]) -> Picture:
    """As `scoring.Scorer` reduces a window."""
    side = GRID * CELL
    reduced = image.reshape(side, SIZE_PX // side, side, SIZE_PX // side).astype(np.float32).mean((1, 3))
    padded = np.pad(reduced, MARGIN, mode="edge").round().astype(np.uint8)
    row, column = (CELL * p for p in place)
    size = PATCH * CELL + 2 * MARGIN
    return padded[row : row + size, column : column + size]


def markers(shard: Path) -> list[str]:
    """Windows with text that are kept out, and windows of radiographs as they are."""
    images, random = labelled(shard), np.random.default_rng(0)
    kept = marking.clear(torch.from_numpy(np.stack(images)), GRID, PATCH).numpy()
    hits, dark = [0, 0], [0, 0]
    for image in images:
        text, font = TEXTS[random.integers(len(TEXTS))], ImageFont.load_default(int(random.integers(8, 20)))
        left, top, right, bottom = (int(v) for v in font.getbbox(text))
        wide, high = right - left, bottom - top
        x, y = (int(random.integers(0, SIZE_PX - length)) for length in (min(wide, 200), high))
        behind = float(image[y : y + high, x : x + wide].mean())
        drawn = Image.fromarray(image)
        ImageDraw.Draw(drawn).text((x - left, y - top), text, fill=int(random.integers(220, 256)), font=font)
        clear = marking.clear(torch.from_numpy(_jpeg(np.asarray(drawn), 85).copy())[None], GRID, PATCH)[0].numpy()
        for row, column in np.ndindex(clear.shape):
            across = min(column * 16 + 48, x + wide) - max(column * 16, x)
            down = min(row * 16 + 48, y + high) - max(row * 16, y)
            if across >= min(wide, 8) and down >= min(high, 8):
                for counted in (hits, dark) if behind < 190 else (hits,):
                    counted[0] += not clear[row, column]
                    counted[1] += 1
    middle = kept[:, 3:11, 2:12]
    return [
        f"| windows that hold 8 px of drawn text, kept out | | {hits[0] / hits[1]:.1%}; {dark[0] / dark[1]:.1%} where "
        "what is behind is darker than 190 |",
        f"| windows of radiographs as they are, kept out | | {1 - kept.mean():.1%} of all, {1 - middle.mean():.1%} in "
        "the middle of the image (wires, clips and markers that are there among them) |",
    ]


def audited(book: Path, test: Path) -> list[str]:
    """Patches put into test images, alone and with what is around them, that the audit finds again."""
    bundle, loaded = bundles.load("cxr-mini"), codebook.load(book)
    observers, random = Observers(bundle, CPU), np.random.default_rng(0)
    auditor = Auditor(loaded, observers.tokenizer, observers.codes)
    images = [item.pixels(SIZE_PX) for item, _ in zip(datasets.read([test]), range(200), strict=False)]
    hosts = observers.codes(np.stack(images)).reshape(-1, GRID, GRID).astype(np.int64)
    entries = random.integers(0, len(loaded.at), len(hosts))
    rows, meta = [], [{"id": str(index)} for index in range(len(hosts))]
    for around in (None, 0, 1, 2):
        codes = hosts.copy()
        if around is not None:
            for own, entry in zip(codes, entries, strict=True):
                top, left = (max(0, int(place) - around) for place in loaded.at[entry])
                end = PATCH + around
                bottom, right = (int(place) + end for place in loaded.at[entry])
                own[top:bottom, left:right] = loaded.codes[loaded.image[entry]][top:bottom, left:right]
        decoded = np.concatenate(
            [
                to_images(observers.tokenizer.decode(torch.from_numpy(codes[n : n + 16])))
                for n in range(0, len(codes), 16)
            ]
        )
        record = auditor.audit(observers.codes(decoded), meta)
        if around is None:
            found = f"{record['copied']} of {len(hosts)}"
            rows.append(f"| audit: test images without copies in which it finds a patch | | {found} |")
            continue
        found = {(copy["id"], copy["entry"]) for copy in record["found"]}
        hits = sum((str(n), loaded.name(int(entry))) in found for n, entry in enumerate(entries))
        what = "alone" if not around else f"with {around} code{'s' if around > 1 else ''} around it"
        rows.append(f"| audit: patches put into test images, {what}, that it finds | | {hits} of {len(hosts)} |")
    return rows
