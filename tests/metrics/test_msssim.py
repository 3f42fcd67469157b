"""MS-SSIM within and between findings: images whose similarity is known in closed form."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from medsynth_cli.errors import MedsynthError
from medsynth_cli.files import pixels
from medsynth_cli.files.datasets import Item
from medsynth_cli.metrics import msssim
from medsynth_cli.metrics.comparison import Comparison
from medsynth_cli.metrics.imagesets import ImageSet

LABELS = ("Effusion", "Nodule")


@pytest.fixture(scope="module")
def observers(judged_by):
    return judged_by(LABELS)


def images(pictures, labels):
    meta = [{"id": str(number), "labels": own} for number, own in enumerate(labels)]
    files = [pixels.encode_png(picture) for picture in pictures]
    items = [Item(str(number), functools.partial(bytes, file), "made") for number, file in enumerate(files)]
    return ImageSet("made", meta, {}, items, size_px=256)


def score(ours, real, observers, train=None):
    return msssim.score(Comparison(ours, real, train, observers))


def test_copies_within_each_finding_are_one_and_between_them_as_the_originals(observers, chests):
    from pyiqa.archs.ssim_arch import ms_ssim

    a, b = (torch.from_numpy(chest)[None, None].float() for chest in chests[:2])
    across = float(ms_ssim(a, b, data_range=255))
    labels = [["Effusion"]] * 3 + [[]] * 3
    ours = images([chests[0]] * 3 + [chests[1]] * 3, labels)
    stored = ImageSet("stored", [{"id": "s", "labels": []}] * 3, {})
    rows = score(ours, stored, observers, train=images([chests[0], chests[1]] * 2, [["Nodule"]] * 2 + [[]] * 2))
    assert list(rows) == ["MS-SSIM", "MS-SSIM within", "MS-SSIM between"]
    wanted = {"MS-SSIM": (6 + 9 * across) / 15, "MS-SSIM within": 1, "MS-SSIM between": across}
    assert {name: row["value"] for name, row in rows.items()} == pytest.approx(wanted, abs=1e-4)
    floors = {"MS-SSIM": (2 + 4 * across) / 6, "MS-SSIM within": across, "MS-SSIM between": (1 + across) / 2}
    assert {name: row["floors"]["training"] for name, row in rows.items()} == pytest.approx(floors, abs=1e-4)
    assert {row["floors"]["real"] for row in rows.values()} == {None}, "a reference holds no images"
    assert {row["floors"]["repeated"] for row in rows.values()} == {1.0}
    low, high = rows["MS-SSIM"]["interval"]
    assert across - 1e-4 <= low < rows["MS-SSIM"]["value"] < high <= 1 + 1e-4


@pytest.mark.parametrize(
    ("labels", "reasons"),
    [
        ([["Nodule"], ["Nodule"]], {"MS-SSIM within": "different findings", "MS-SSIM between": "different findings"}),
        ([["Nodule"], []], {"MS-SSIM within": "the same findings"}),
        ([None, ["Nodule"]], {"MS-SSIM within": "different findings", "MS-SSIM between": "different findings"}),
    ],
)
def test_what_cannot_be_had_says_why(observers, chests, labels, reasons):
    ours = images(chests[:2], labels)
    rows = score(ours, ours, observers)
    assert {name for name, row in rows.items() if row["value"] is None} == reasons.keys()
    for name, reason in reasons.items():
        assert reason in rows[name]["reason"]


@pytest.mark.parametrize("count", [40, 3000])
@pytest.mark.parametrize("same", [True, False])
def test_only_allowed_pairs_are_drawn_and_all_of_them_if_they_are_few(count, same):
    classes = np.arange(count) % 10

    def allowed(pairs):
        return (classes[pairs[:, 0]] == classes[pairs[:, 1]]) == same

    pairs = msssim.draw_pairs(count, 500, seed=1, allowed=allowed)
    every = [(i, j) for i in range(40) for j in range(i) if ((i - j) % 10 == 0) == same]
    assert len(pairs) == (min(500, len(every)) if count == 40 else 500)
    assert allowed(pairs).all()
    assert len(np.unique(np.sort(pairs, axis=1), axis=0)) == len(pairs)
    np.testing.assert_array_equal(pairs, msssim.draw_pairs(count, 500, seed=1, allowed=allowed))


def test_no_allowed_pair():
    with pytest.raises(MedsynthError, match="no such pair"):
        msssim.draw_pairs(5, allowed=lambda pairs: np.zeros(len(pairs), bool))
