"""Building a codebook: the best patches, on the right side, whatever the order of the images."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from medsynth_cli import modality
from medsynth_cli.alignment import aligner, build, codebook
from medsynth_cli.files.datasets import Item
from medsynth_cli.files.pixels import encode_png
from medsynth_cli.files.records import Failures
from medsynth_cli.runtime import bundles
from medsynth_cli.text import vocabulary
from medsynth_cli.tokens import tokenizer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def items(radiographs: list[tuple[dict, np.ndarray]]) -> list[Item]:
    return [Item(meta["id"], functools.partial(encode_png, image), meta["id"], meta) for meta, image in radiographs]


def built(items: list[Item], k1: int = 3, failures: Failures | None = None) -> codebook.Codebook:
    bundle = bundles.load("cxr-mini")
    return build.build(
        items,
        tokenizer.load(bundle, CPU),
        aligner.load(bundle, CPU),
        vocabulary.load(modality.find("chest_xray")),
        k1=k1,
        tokenizer_sha256=bundle.tokenizer_sha256,
        failures=Failures() if failures is None else failures,
        advance=lambda count: None,
    )


def test_the_order_of_images_does_not_matter(items: list[Item]) -> None:
    forward, backward = built(items), built(items[::-1])
    assert codebook.lines(forward) == codebook.lines(backward)


def test_each_word_has_its_best_patches_of_images_with_its_label(items: list[Item]) -> None:
    book = built(items, k1=2)
    everything = built(items, k1=100)
    labels = {item.id: item.meta["labels"][0] for item in items}
    terms = vocabulary.load(modality.find("chest_xray")).terms
    for number, (term, _) in enumerate(book.words):
        kept, whole = (b.score[b.starts[number] : b.starts[number + 1]] for b in (book, everything))
        assert len(whole) == sum(label == terms[term].label for label in labels.values())
        np.testing.assert_array_equal(kept, np.sort(whole)[::-1][:2])


def test_a_sided_word_takes_patches_of_that_side_of_the_patient(items: list[Item]) -> None:
    book = built(items)
    middle = book.codes.shape[1] / 2
    for number, (_, side) in enumerate(book.words):
        centres = book.at[book.starts[number] : book.starts[number + 1], 1] + book.patch / 2
        assert side != "left" or (centres >= middle).all()
        assert side != "right" or (centres <= middle).all()
    assert {"left", "right", ""} == {side for _, side in book.words}


def test_a_damaged_image_is_reported_and_left_out(items: list[Item], capsys: pytest.CaptureFixture[str]) -> None:
    failures = Failures()
    damaged = Item("damaged", lambda: b"not an image", "x.tar:damaged.png", {"labels": ["Effusion"]})
    book = built([*items[:4], damaged], failures=failures)
    assert len(failures) == 1
    assert "x.tar:damaged.png" in capsys.readouterr().err
    assert len(book.source) <= 4


def test_saved_and_loaded(items: list[Item], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("book")
    book = built(items)
    codebook.save(folder, book)
    loaded = codebook.load(folder)
    assert loaded.words == book.words
    np.testing.assert_array_equal(loaded.codes, book.codes)
    np.testing.assert_array_equal(loaded.patch_codes(0), book.patch_codes(0))
    assert len((folder / codebook.LINES).read_text().splitlines()) == len(book.at)
    assert codebook.of(bundles.load("cxr-mini"), folder).sha256 == loaded.sha256
