"""Building a codebook: the best patches, on the right side, the same however the images come."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from medsynth_cli import modality
from medsynth_cli.alignment import build, codebook
from medsynth_cli.alignment.quality import Rules
from medsynth_cli.alignment.request import Request
from medsynth_cli.files.records import Failures
from medsynth_cli.runtime import bundles
from medsynth_cli.runtime.progress import Progress
from medsynth_cli.text import vocabulary

VOCABULARY = vocabulary.load(modality.find("chest_xray"))
WriteShard = Callable[[Path, list[tuple[dict, np.ndarray]]], Path]
FREE = Rules(k1=100, per_patient=100, min_patients=1)


def built(folder: Path, data: Path, **options: object) -> codebook.Codebook:
    """Build in ``folder`` and read what was written."""
    request = Request((data,), **({"rules": FREE} | options))
    bundle = bundles.load("cxr-mini")
    building = build.Build(request, bundle, VOCABULARY, folder, torch.device("cpu"), Failures())
    assert building.prepare(resume=False, overwrite=False)
    with Progress("") as progress:
        building.run(progress)
    assert not (folder / build.CHECKPOINT).exists()
    return codebook.load(folder)


@pytest.fixture(scope="module")
def book(shard: Path, tmp_path_factory: pytest.TempPathFactory) -> codebook.Codebook:
    return built(tmp_path_factory.mktemp("book"), shard)


def scores(book: codebook.Codebook, number: int) -> np.ndarray:
    return book.score[book.starts[number] : book.starts[number + 1]]


def test_words_have_the_best_patches_of_images_with_their_label(
    book: codebook.Codebook, radiographs: list[tuple[dict, np.ndarray]], shard: Path, tmp_path: Path
) -> None:
    labels = [meta["labels"][0] for meta, _ in radiographs]
    for number, (term, _) in enumerate(book.words):
        told = book.about["entries"][number]
        label = VOCABULARY.terms[term].label
        assert len(scores(book, number)) + told["near_duplicates"] == labels.count(str(label))
    few = built(tmp_path / "few", shard, rules=Rules(2, 100, 1))
    assert few.words == book.words
    for number in range(len(few.words)):
        np.testing.assert_array_equal(scores(few, number), scores(book, number)[:2])


def test_a_sided_word_takes_patches_of_that_side_of_the_patient(book: codebook.Codebook) -> None:
    middle = book.codes.shape[1] / 2
    for number, (_, side) in enumerate(book.words):
        centres = book.at[book.starts[number] : book.starts[number + 1], 1] + book.patch / 2
        assert side != "left" or (centres >= middle).all()
        assert side != "right" or (centres <= middle).all()
    assert {"left", "right", ""} == {side for _, side in book.words}


def test_other_orders_batches_and_copies_make_the_same_codebook(
    book: codebook.Codebook, radiographs: list[tuple[dict, np.ndarray]], write_shard: WriteShard, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    again = [(meta | {"id": f"copy-{meta['id']}"}, image) for meta, image in radiographs[:5]]
    mixed = [radiographs[index] for index in random.permutation(len(radiographs))]
    other = built(tmp_path / "other", write_shard(tmp_path / "mixed.tar", mixed[:9] + again + mixed[9:]), batch_size=3)
    assert other.about | {"counts": 0} == book.about | {"counts": 0}
    assert codebook.lines(other) == codebook.lines(book)
    np.testing.assert_array_equal(other.codes, book.codes)
    np.testing.assert_array_equal(other.embedding, book.embedding)
    np.testing.assert_array_equal(other.patient, book.patient)


def test_patients_are_limited_dropped_and_left_out(
    book: codebook.Codebook, radiographs: list[tuple[dict, np.ndarray]], shard: Path, tmp_path: Path
) -> None:
    first = radiographs[0][0]["patient"]
    strict = built(tmp_path / "strict", shard, rules=Rules(100, 1, 2), excluded=frozenset([first, "nobody"]))
    assert strict.about["counts"] == {"images": len(radiographs) - 2, "unreadable": 0, "excluded": 2}
    for number, (term, side) in enumerate(strict.words):
        entries = strict.entries(term, side)
        assert strict.patients(entries) == len(entries) >= 2
        assert strict.about["entries"][number]["patients"] == len(entries)
    dropped = {(one["term"], one["side"] or "") for one in strict.about["dropped"]}
    assert dropped >= set(book.words) - set(strict.words) != set()


def test_saved_and_loaded(book: codebook.Codebook, tmp_path: Path) -> None:
    codebook.save(tmp_path, book)
    loaded = codebook.load(tmp_path)
    assert loaded.words == book.words
    assert loaded.sha256 == book.sha256, "the same codebook makes the same bytes"
    np.testing.assert_array_equal(loaded.patch_codes(0), book.patch_codes(0))
    rows = [json.loads(line) for line in (tmp_path / codebook.LINES).read_text().splitlines()]
    assert len(rows) == len(book.at)
    row, column = rows[0]["at"]
    assert rows[0]["box"] == [16 * column, 16 * row, 48, 48]
    assert codebook.of(bundles.load("cxr-mini"), tmp_path).sha256 == loaded.sha256


def test_a_codebook_of_an_earlier_version_is_read() -> None:
    bundled = codebook.of(bundles.load("cxr-mini"), None)
    assert bundled.patients(range(3)) is None or bundled.about
    assert len(bundled.patch_codes(0)) == bundled.patch
