"""The language model against transformers, and its form for decoding against the full forward pass."""

import pytest
import torch

from medsynth_cli.tokens.decoder import Decoder
from medsynth_cli.tokens.language_model import LanguageModel, LanguageModelConfig

CONFIG = LanguageModelConfig(
    vocab_size=97, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96, rotary_pct=0.5
)


@pytest.fixture
def model() -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(CONFIG)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def test_logits_equal_those_of_transformers(model: LanguageModel) -> None:
    from transformers.models.gpt_neox.configuration_gpt_neox import GPTNeoXConfig
    from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        vocab_size=97,
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
    )
    theirs = GPTNeoXForCausalLM(config).eval()
    missing, unexpected = theirs.load_state_dict(model.state_dict(), strict=False)
    assert not unexpected
    assert all("rotary" in name or "bias" in name for name in missing)
    tokens = torch.randint(0, 97, (2, 40))
    with torch.inference_mode():
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, rtol=1e-4, atol=1e-4)


def test_decoding_equals_the_full_pass(model: LanguageModel) -> None:
    tokens = torch.randint(0, 97, (3, 20))
    with torch.inference_mode():
        decoder = Decoder(model, 60, 20)
        cache = decoder.cache(3)
        steps = [decoder.logits(tokens[:, :8], cache)]
        steps += [decoder.logits(tokens[:, i : i + 1], cache) for i in range(8, 20)]
        torch.testing.assert_close(torch.stack(steps, dim=1), model(tokens)[:, 7:, :60], rtol=1e-4, atol=1e-4)


def test_later_tokens_do_not_change_earlier_ones(model: LanguageModel) -> None:
    tokens = torch.randint(0, 97, (1, 16))
    changed = tokens.clone()
    changed[0, 10] = (changed[0, 10] + 1) % 97
    with torch.inference_mode():
        before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :10], after[:, :10])
    assert not torch.allclose(before[:, 10:], after[:, 10:])
