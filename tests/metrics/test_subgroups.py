"""Groups and the gap between them."""

from __future__ import annotations

import pytest

from medsynth_cli.errors import MedsynthError
from medsynth_cli.metrics import subgroups
from medsynth_cli.metrics.comparison import Comparison
from medsynth_cli.metrics.imagesets import ImageSet


def images(count, **fields):
    return [{"id": f"{fields}{i}"} | fields for i in range(count)]


def test_groups_have_images_enough_on_both_sides():
    ours = images(30, sex="F", age=30) + images(30, sex="M", age=39.5) + images(5, view="AP")
    real = images(25, sex="F", age=20) + images(19, sex="M", age=70)
    comparison = Comparison(ImageSet("ours", ours, {}), ImageSet("real", real, {}), None, None)
    found = dict(subgroups.split(comparison, ("sex", "age", "view")))
    assert list(found) == ["sex=F", "age=18-39"]
    assert (len(found["sex=F"].synthetic), len(found["sex=F"].real)) == (30, 25)
    assert (len(found["age=18-39"].synthetic), len(found["age=18-39"].real)) == (60, 25)


def row(value, half):
    return {"value": value, "interval": [value - half, value + half]}


def test_the_gap_that_stands_out_most_is_named():
    groups = {
        "sex=F": {"AUROC macro": row(0.7, 0.1), "KID-EffNet": row(0.10, 0.01), "FD-EffNet": row(100, 1)},
        "sex=M": {"AUROC macro": row(0.8, 0.1), "KID-EffNet": row(0.14, 0.01), "FD-EffNet": row(200, 1)},
        "view=AP": {"AUROC macro": row(0.1, 0.001)},
    }
    gap = subgroups.largest_gap(groups)
    assert (gap["metric"], gap["groups"]) == ("KID-EffNet", ["sex=F", "sex=M"])
    assert gap["difference"] == pytest.approx(-0.04)
    assert gap["standard_errors"] == pytest.approx(0.04 / (2**0.5 * 0.01 / 1.96), rel=1e-3)
    assert subgroups.largest_gap({"sex=F": groups["sex=F"]}) is None


def test_unknown_fields_name_the_known_ones():
    with pytest.raises(MedsynthError, match="no groups by height") as caught:
        subgroups.check(("sex", "height"))
    assert "finding" in caught.value.hint
