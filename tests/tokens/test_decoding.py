"""Sampling: shape, range, independence of the batch, and the distribution that it draws from."""

import numpy as np
import pytest
import torch

from medsynth_cli.tokens.decoder import Decoder
from medsynth_cli.tokens.decoding import Sampling, draw, gumbel, sample
from medsynth_cli.tokens.language_model import LanguageModel, LanguageModelConfig
from medsynth_cli.tokens.sequence import Layout

LAYOUT = Layout(codes=50, grid=4, text_size=300, labels=("Effusion", "Edema"), views=("PA",), text_length=5, patches=1)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(
        LanguageModelConfig(
            LAYOUT.vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
        )
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture(scope="module")
def decoder(model: LanguageModel) -> Decoder:
    return Decoder(model, LAYOUT.codes, LAYOUT.length)


def asked_and_person(row: int) -> tuple[np.ndarray, np.ndarray]:
    """Two prefixes that differ between rows, the second padded as that of a person."""
    random = np.random.default_rng(row)
    asked = random.integers(LAYOUT.codes, LAYOUT.vocab_size, LAYOUT.prefix)
    person = np.full(LAYOUT.prefix, LAYOUT.pad)
    person[LAYOUT.person_at :] = asked[LAYOUT.person_at :]
    return asked, person


def run(decoder: Decoder, rows: list[int], sampling: Sampling) -> np.ndarray:
    prefixes, persons = (np.stack(part) for part in zip(*map(asked_and_person, rows), strict=True))
    noise = np.stack([gumbel((3, row), 16, 50) for row in rows])
    return sample(decoder, LAYOUT, prefixes, persons, noise, sampling)


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_always_a_full_grid_of_image_codes(decoder: Decoder, cfg: float) -> None:
    codes = run(decoder, [0, 1, 2], Sampling(cfg=cfg))
    assert codes.shape == (3, 4, 4)
    assert codes.min() >= 0
    assert codes.max() < LAYOUT.codes


def test_an_image_does_not_depend_on_its_batch(decoder: Decoder) -> None:
    together = run(decoder, [0, 1, 2, 3, 4], Sampling())
    for row in range(5):
        np.testing.assert_array_equal(run(decoder, [row], Sampling())[0], together[row])
    np.testing.assert_array_equal(run(decoder, [4, 2, 0], Sampling()), together[[4, 2, 0]])


def test_guidance_of_one_equals_no_guidance(decoder: Decoder) -> None:
    almost = run(decoder, [0, 1], Sampling(cfg=1.0 + 1e-9))
    np.testing.assert_array_equal(run(decoder, [0, 1], Sampling(cfg=1.0)), almost)


def test_guidance_leads_away_from_each_rows_own_person(model: LanguageModel, decoder: Decoder) -> None:
    codes = run(decoder, [0, 1, 2], Sampling(temperature=0, cfg=2.5)).reshape(3, -1)
    for row in range(3):
        with torch.inference_mode():
            asked, person = (
                model(torch.from_numpy(np.concatenate([prefix, codes[row]])[None]))[0, LAYOUT.prefix - 1 : -1, :50]
                for prefix in asked_and_person(row)
            )
        expected = (person + 2.5 * (asked - person)).argmax(-1)
        np.testing.assert_array_equal(codes[row], expected.numpy())


def test_draws_follow_the_softmax() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]]).expand(40_000, -1)
    noise = torch.from_numpy(gumbel((1,), 40_000, 4))
    for temperature in (1.0, 0.5):
        drawn = draw(logits, noise, Sampling(temperature=temperature))
        shares = torch.bincount(drawn, minlength=4) / 40_000
        torch.testing.assert_close(shares, (logits[0] / temperature).softmax(0), rtol=0, atol=0.01)


def test_top_k_and_zero_temperature_leave_out_the_rest() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]]).expand(2_000, -1)
    noise = torch.from_numpy(gumbel((1,), 2_000, 4))
    assert set(draw(logits, noise, Sampling(top_k=2)).tolist()) == {1, 2}
    assert set(draw(logits, noise, Sampling(temperature=0)).tolist()) == {2}
