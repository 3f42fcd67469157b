"""The language model against transformers, and its cache against the full forward pass."""

import pytest
import torch

from medsynth_cli.tokens.language_model import Cache, LanguageModel, LanguageModelConfig

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


def test_cached_decoding_equals_the_full_pass(model: LanguageModel) -> None:
    tokens = torch.randint(0, 97, (3, 20))
    cache = Cache(CONFIG, 3, 20, torch.device("cpu"))
    with torch.inference_mode():
        whole = model.hidden(tokens)
        steps = [model.hidden(tokens[:, :8], cache)]
        steps += [model.hidden(tokens[:, i : i + 1], cache) for i in range(8, 20)]
        torch.testing.assert_close(torch.cat(steps, dim=1), whole, rtol=1e-4, atol=1e-5)


def test_later_tokens_do_not_change_earlier_ones(model: LanguageModel) -> None:
    tokens = torch.randint(0, 97, (1, 16))
    changed = tokens.clone()
    changed[0, 10] = (changed[0, 10] + 1) % 97
    with torch.inference_mode():
        before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :10], after[:, :10])
    assert not torch.allclose(before[:, 10:], after[:, 10:])
