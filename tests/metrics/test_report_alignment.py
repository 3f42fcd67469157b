"""Report-image alignment: closed forms, which words count, and real images with the labels they have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medsynth_cli import modality
from medsynth_cli.alignment import aligner
from medsynth_cli.alignment import words as word_lists
from medsynth_cli.files.cache import Cache
from medsynth_cli.files.records import Failures
from medsynth_cli.metrics import gates, imagesets, report_alignment
from medsynth_cli.metrics.comparison import Comparison
from medsynth_cli.metrics.imagesets import ImageSet
from medsynth_cli.metrics.observers import Observers
from medsynth_cli.metrics.report_alignment import Contest
from medsynth_cli.runtime import bundles
from medsynth_cli.text import vocabulary

CPU = torch.device("cpu")
DATA = Path(__file__).parents[3] / "shared" / "data" / "nih-test-000.tar"
WORDS = [frozenset(words) for words in ({0}, {1}, {0, 2}, {1}, {3})]


@pytest.fixture(scope="module")
def terms():
    return vocabulary.load(modality.find("chest_xray"))


@pytest.fixture(scope="module")
def numbers(terms):
    """(term, side) -> number of the word."""
    return {(word.term, word.side): number for number, word in enumerate(word_lists.words(terms))}


@pytest.fixture(scope="module")
def observers():
    return Observers(bundles.load("cxr-mini"), CPU)


def by_hand(matches, words):
    """The definition, pair by pair."""
    seen = matches - matches.mean(axis=0)
    wins = []
    for image, own in enumerate(words):
        for other in words:
            if other != own:
                a, b = (np.mean([seen[image, word] for word in sorted(said)]) for said in (own, other))
                wins.append(1.0 if a > b else 0.5 if a == b else 0.0)
    return np.mean(wins)


@pytest.mark.parametrize("seed", range(4))
def test_rate_is_the_share_of_pairs_won(seed):
    random = np.random.default_rng(seed)
    matches = random.normal(size=(5, 4))
    assert Contest(matches, WORDS).rate() == pytest.approx(by_hand(matches, WORDS))


def test_weights_count_images_as_often_as_they_say():
    matches = np.random.default_rng(0).normal(size=(5, 4))
    matches -= matches.mean(axis=0)
    times = np.array([2, 0, 1, 3, 1])
    contest, drawn = Contest(matches, WORDS), np.repeat(np.arange(5), times)
    wins = [
        (matches[i, sorted(WORDS[i])].mean() > matches[i, sorted(WORDS[j])].mean())
        for i in drawn
        for j in drawn
        if WORDS[i] != WORDS[j]
    ]
    assert contest.rate(times) == pytest.approx(np.mean(wins))
    assert np.isnan(contest.rate(np.array([0, 1, 0, 1, 0]))), "both say the same"


def test_one_image_over_and_over_is_chance_and_a_perfect_set_wins_always():
    single = np.random.default_rng(1).normal(size=(1, 4)).repeat(5, axis=0)
    assert Contest(single, WORDS).rate() == pytest.approx(0.5, abs=1e-12)
    perfect = np.array([[word in words for word in range(4)] for words in WORDS], float)
    assert Contest(perfect + np.arange(4), WORDS).rate() == 1
    assert Contest(-perfect, WORDS).rate() == 0


def test_shuffled_images_are_chance():
    random = np.random.default_rng(2)
    words = [frozenset(random.choice(8, random.integers(1, 4), replace=False).tolist()) for _ in range(60)]
    matches = np.array([[word in said for word in range(8)] for said in words]) + random.normal(size=(60, 8))
    assert Contest(matches, words).rate() > 0.7
    shuffled = [Contest(matches[random.permutation(60)], words).rate() for _ in range(200)]
    assert np.mean(shuffled) == pytest.approx(0.5, abs=4 * np.std(shuffled) / 200**0.5)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Left pleural effusion. Effusion.", {("pleural_effusion", "left")}),
        ("Bilateral pleural effusions.", {("pleural_effusion", "")}),
        ("Right lobar collapse and nodule in the left lung.", {("atelectasis", "right"), ("nodule", "left")}),
        ("No effusion. Possible pneumonia. The heart is enlarged.", {("cardiomegaly", "")}),
        ("Lymphadenopathy. The lungs are clear.", set()),
    ],
)
def test_words_that_a_report_asserts(observers, terms, numbers, text, wanted):
    matches = np.zeros((2, len(numbers)), np.float32)
    for word in wanted:
        matches[0, numbers[word]] = 1
    meta = [{"id": "a", "report": {"findings": text, "impression": ""}}, {"id": "b", "prompt": "Emphysema."}]
    images = ImageSet("made", meta, {aligner.PART: matches})
    found = report_alignment.score(Comparison(images, images, None, observers))["report alignment"]
    if wanted:
        # Image a has what it was asked for and b has not: a wins, and b's own words are as usual there.
        assert (found["value"], found["n"]) == (1.0, 2)
    else:
        assert found["value"] is None
        assert "different findings" in found["reason"]
    keywords = report_alignment.words_of(
        [{"term": term, "side": side} for term, side in wanted] + [{"term": "lymphadenopathy", "side": None}], terms
    )
    assert keywords == {numbers[word] for word in wanted}


def test_the_observer_says_the_cosine_of_the_best_patch(observers, chests, terms):
    look = report_alignment.observer(observers.bundle, CPU)
    found = look(chests[:2])
    model = aligner.load(observers.bundle, CPU)
    with torch.inference_mode():
        patches = model.encode_patches(torch.from_numpy(chests[:2])[:, None] / 255).numpy().reshape(2, 128, -1)
        words = model.encode_words([word.phrase for word in word_lists.words(terms)]).numpy()
    np.testing.assert_allclose(found, np.stack([(words @ own).max(axis=1) for own in patches]), atol=1e-4)
    np.testing.assert_array_equal(look(chests[1:2])[0], found[1])


def test_a_bundle_without_an_aligner_says_so(tmp_path):
    bare = Observers(bundles.create(tmp_path / "bare", "bare", "chest_xray"), CPU)
    images = ImageSet("made", [{"id": "a", "prompt": "Effusion."}, {"id": "b", "prompt": "Emphysema."}], {})
    found = report_alignment.score(Comparison(images, images, None, bare))["report alignment"]
    assert found["value"] is None
    assert "bare has no aligner" in found["reason"]


def test_the_figure_is_no_gate_without_saying_that_it_is_circular():
    result = {"value": 0.7, "interval": [0.65, 0.75], "better": "higher", "n": 9, "floors": {"repeated": 0.5}}
    score = {"metrics": {"report alignment": result | {"note": report_alignment.NOTE}}, "counts": {"synthetic": 9}}
    before, _, after = gates.start_file(score).partition("- {metric:")
    assert "report alignment" in after
    assert "circular for images that this bundle made" in before.splitlines()[-1]


@pytest.mark.skipif(not DATA.exists(), reason="the real images are not at hand")
def test_real_images_fit_their_own_labels(observers):
    images = imagesets.read([str(DATA)], 256, Failures(), Cache(None), most=130)
    images = images.take([i for i, labels in enumerate(images.field("labels")) if labels])
    look = report_alignment.observer(observers.bundle, CPU)
    matches = images.of(look)
    prompts = [". ".join(labels).replace("_", " ") for labels in images.field("labels")]

    def score(prompts):
        meta = [{"id": str(i), "prompt": prompt} for i, prompt in enumerate(prompts)]
        ours = ImageSet("ours", meta, {look.name: matches})
        return report_alignment.score(Comparison(ours, images, None, observers))["report alignment"]

    found = score(prompts)
    assert found["n"] == len(images)
    assert found["interval"][0] > 0.5
    assert found["floors"]["real"] > 0.55
    random = np.random.default_rng(0)
    shuffled = [score([prompts[i] for i in random.permutation(len(prompts))])["value"] for _ in range(10)]
    assert np.mean(shuffled) == pytest.approx(0.5, abs=0.05)
