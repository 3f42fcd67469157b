"""AuthPct against its definition, and on copies."""

from __future__ import annotations

import numpy as np

from medsynth_cli.metrics import authenticity


def test_definition():
    random = np.random.default_rng(0)
    train, ours = random.normal(size=(1100, 4)), random.normal(size=(300, 4))
    expected = []
    for x in ours:
        nearest = np.linalg.norm(train - x, axis=1).argmin()
        own = np.delete(np.linalg.norm(train - train[nearest], axis=1), nearest).min()
        expected.append(np.linalg.norm(train[nearest] - x) > own)
    assert 0 < np.mean(expected) < 1
    assert (authenticity.authentic(ours, train) == expected).all()


def test_copies_are_not_authentic_and_strangers_are():
    train = np.random.default_rng(1).normal(size=(50, 8))
    assert not authenticity.authentic(train + 1e-3, train).any()
    assert authenticity.authentic(train + 100, train).all()


def test_command(run, tmp_path, small_bundle, radiographs):
    """The reference's training images score 0 beside themselves, the real ones stand beside."""
    from medsynth_cli.files import pixels

    for meta, image in radiographs[:6]:
        (tmp_path / f"{meta['id']}.png").write_bytes(pixels.encode_png(image))
    result = run(
        "evaluate", tmp_path, "--metrics", "authenticity", "--by", "none", "--bundle", small_bundle,
        "--train", tmp_path, "--quiet",
    )  # fmt: skip
    row = result.records[0]["metrics"]["AuthPct-EffNet"]
    assert row["value"] == 0
    assert row["floors"]["training"] == 0
    assert row["n_train"] == 6
    assert "real" in row["floors"]
