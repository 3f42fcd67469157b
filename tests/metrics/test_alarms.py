"""Every alarm is raised by the mistake it is named after, and by no other of these."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medsynth_cli.files import pixels
from medsynth_cli.files.cache import Cache
from medsynth_cli.files.records import Failures
from medsynth_cli.metrics import alarms, imagesets
from medsynth_cli.metrics.comparison import Comparison
from medsynth_cli.metrics.observers import Observers
from medsynth_cli.runtime import bundles

GOOD = {
    "AUROC macro": {"value": 0.75, "interval": [0.7, 0.8], "floors": {"round trip": 0.77}},
    "wrong side": {"value": 0.2, "interval": [0.1, 0.3], "n": 40, "floors": {"real": 0.1}},
}


def mistakes(chests):
    twelve_bits = (chests.astype(np.uint16) * 16).astype(np.uint16)
    return {
        "nothing": list(chests),
        "16-bit images": list(twelve_bits),
        "inverted images": list(255 - chests),
        "mode collapse": [chests[0]] * len(chests),
    }


@pytest.fixture
def raised(tmp_path, chests, small_bundle):
    """Names of the alarms that images raise."""

    def check(images, rows):
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        for index, image in enumerate(images):
            (folder / f"{index}.png").write_bytes(pixels.encode_png(image))
        observers = Observers(bundles.load(str(small_bundle)), torch.device("cpu"))
        real = tmp_path / "real"
        real.mkdir(exist_ok=True)
        for index, chest in enumerate(chests):
            (real / f"{index}.png").write_bytes(pixels.encode_png(chest))
        sets = [imagesets.read([str(name)], 256, Failures(), Cache(None)) for name in (folder, real)]
        comparison = Comparison(*sets, None, observers)
        return {alarm["name"] for alarm in alarms.check(comparison, rows) if alarm["raised"]}

    return check


@pytest.mark.parametrize("mistake", ["nothing", "16-bit images", "inverted images", "mode collapse"])
def test_mistakes_in_the_images(raised, chests, mistake):
    assert raised(mistakes(chests)[mistake], GOOD) == {mistake} - {"nothing"}


def test_mistakes_in_the_figures(raised, chests):
    chance = {"value": 0.51, "interval": [0.45, 0.57], "floors": {"round trip": 0.77}}
    assert raised(chests, GOOD | {"AUROC macro": chance}) == {"wrong labels"}
    same = {"Vendi-EffNet": {"value": 3.0, "floors": {"training": 20.0, "repeated": 1.0}}}
    assert raised(chests, GOOD | same) == {"mode collapse"}
    wrong = {"value": 0.8, "interval": [0.7, 0.9], "n": 40, "floors": {"real": 0.1}}
    assert raised(chests, GOOD | {"wrong side": wrong}) == {"wrong side"}
    assert raised(chests, GOOD | {"wrong side": wrong | {"floors": {"real": 0.4}}}) == set(), "who cannot tell sides"
