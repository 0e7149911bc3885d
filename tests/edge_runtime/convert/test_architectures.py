"""Every edge family is described; configurations of transformers 5 and of earlier versions give the same model."""

import pytest
import transformers

from edge_runtime.convert.architectures import FAMILIES, describe_model
from edge_runtime.errors import ConversionError
from loragen.contract.edge_families import EDGE_FAMILIES
from tests.edge_runtime.tiny_models import older_config


def test_families_are_those_of_the_contract():
    assert FAMILIES.keys() == EDGE_FAMILIES.keys()


def test_gemma_3_as_older_transformers_wrote_it_is_the_same_model():
    new = transformers.Gemma3TextConfig(
        vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=7, num_attention_heads=2,
        num_key_value_heads=1, head_dim=32, query_pre_attn_scalar=32, sliding_window=16,
    ).to_dict()  # fmt: skip
    old = older_config(new, rope_theta=1e6, rope_local_base_freq=1e4, rope_scaling=None, sliding_window_pattern=6)
    assert describe_model(old).metadata == describe_model(new).metadata


def test_window_as_long_as_the_context_is_none() -> None:
    """Mistral 7B v0.1 has a window of 4,096 tokens in a context of 32,768; llama.cpp would attend to all of them."""
    config = transformers.MistralConfig(max_position_embeddings=4_096, sliding_window=4_096).to_dict()
    assert describe_model(config) == describe_model(config | {"sliding_window": None})
    with pytest.raises(ConversionError, match="sliding_window = 4096 is shorter than the context"):
        describe_model(config | {"max_position_embeddings": 32_768})


def test_layers_of_smollm3_that_do_not_rotate_are_those_that_llama_cpp_knows() -> None:
    config = transformers.SmolLM3Config(num_hidden_layers=8).to_dict()
    assert describe_model(config).name == "smollm3"
    with pytest.raises(ConversionError, match="each fourth layer"):
        describe_model(config | {"no_rope_layers": [1] * 8})


@pytest.mark.parametrize("kind", ["phi3", "mamba", None])
def test_family_that_is_not_converted_names_the_way_out(kind: str | None) -> None:
    """Its published GGUF is the base, as it is."""
    with pytest.raises(ConversionError, match=f"architecture {kind!r} is not supported; expected one of ") as caught:
        describe_model({"model_type": kind})
    assert "LORAGEN_EDGE_BASE_MODEL" in caught.value.hint


def test_scale_and_window_of_a_large_gemma_2():
    """llama.cpp scales the attention of the 27B model by its width: 4608 / 32 heads = 144, with heads of 128."""
    config = transformers.Gemma2Config(
        hidden_size=4608, num_hidden_layers=46, num_attention_heads=32, num_key_value_heads=16, head_dim=128,
        query_pre_attn_scalar=144,
    ).to_dict()  # fmt: skip
    assert describe_model(config).name == "gemma2"
