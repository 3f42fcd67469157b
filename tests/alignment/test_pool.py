"""The pool: what it keeps is the best there is, however candidates come to it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from medsynth_cli.alignment import pool
from medsynth_cli.alignment.pool import Caps, Pool, best_of, row_type
from medsynth_cli.errors import MedsynthError

CAPS = Caps(word=20, patient=3)
WORDS = 4


@pytest.fixture(scope="module")
def rows() -> pool.Rows:
    """Candidates with ties of score, patients with many images, and images that come again."""
    random = np.random.default_rng(0)
    images = random.integers(0, 2**63, 300, dtype=np.uint64)
    patients = random.integers(0, 60, 300).astype(np.uint64)
    rows = np.zeros(2000, row_type(3, 2))
    which = random.integers(0, 300, 2000)
    rows["word"], rows["image"], rows["patient"] = random.integers(0, WORDS, 2000), images[which], patients[which]
    rows["score"] = ((which * 7 + rows["word"]) % 40) / 40
    rows["order"] = np.arange(2000)
    rows["at"] = which[:, None] % 14
    return rows


def plain(rows: pool.Rows) -> list[tuple]:
    """What the pool is to keep, one candidate after the other."""
    kept: list[tuple] = []
    seen, of_patient, of_word = set(), Counter(), Counter()
    ranked = sorted(rows.tolist(), key=lambda r: (r[0], -r[1], r[2], r[3], r[4]))
    for word, score, image, patient, order, *_ in ranked:
        if (word, image, patient) in seen:
            continue
        if of_patient[word, patient] < CAPS.patient and of_word[word] < CAPS.word:
            kept.append((word, score, image, patient, order))
            of_patient[word, patient] += 1
            of_word[word] += 1
        seen.add((word, image, patient))
    return kept


def content(rows: pool.Rows) -> list[tuple]:
    return [row[:5] for row in rows.tolist()]


def test_it_keeps_what_one_pass_with_the_caps_would(rows: pool.Rows) -> None:
    assert content(best_of(rows, CAPS)) == plain(rows)


@pytest.mark.parametrize("seed", range(10))
def test_order_batches_and_parts_do_not_matter(rows: pool.Rows, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "WAITING", 50)
    random = np.random.default_rng(seed)
    mixed = rows[random.permutation(len(rows))]
    parts = []
    for part in np.split(mixed, np.sort(random.integers(0, len(rows), 3))):
        candidates = Pool.empty(WORDS, CAPS, rows.dtype)
        while len(part):
            batch, part = np.split(part, [random.integers(1, 40)])
            candidates.add(batch[batch["score"] >= candidates.floors[batch["word"]]])
        candidates.settle()
        parts.append((candidates, {}))
    whole, _ = pool.merged(parts)
    assert content(whole.rows) == plain(rows)


def test_a_floor_is_the_least_score_of_a_full_word(rows: pool.Rows) -> None:
    candidates = Pool.empty(WORDS + 1, CAPS, rows.dtype)
    candidates.add(rows)
    candidates.settle()
    for word in range(WORDS):
        assert candidates.floors[word] == candidates.of_word(word)["score"].min()
    assert candidates.floors[WORDS] == -np.inf


def test_written_and_read(rows: pool.Rows, tmp_path: Path) -> None:
    candidates = Pool.empty(WORDS, CAPS, rows.dtype)
    candidates.add(rows)
    candidates.settle()
    codes = {int(image): np.full((4, 4), i, np.uint16) for i, image in enumerate(candidates.rows["image"])}
    pool.save(tmp_path / "pool.safetensors", candidates, {"a": 1}, codes)
    loaded, about, read = pool.load(tmp_path / "pool.safetensors")
    np.testing.assert_array_equal(loaded.rows, candidates.rows)
    np.testing.assert_array_equal(loaded.floors, candidates.floors)
    assert (about, loaded.caps, read.keys()) == ({"a": 1}, CAPS, codes.keys())
    assert all((read[image] == codes[image]).all() for image in codes)


def test_what_is_no_pool(tmp_path: Path) -> None:
    with pytest.raises(MedsynthError, match="no such pool"):
        pool.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(MedsynthError, match="not a pool"):
        pool.load(tmp_path / "bad.safetensors")
