"""Of a Gemma 3 that reads images, the text part is converted, and answers as the whole does to a text."""

from pathlib import Path
from typing import Any

import transformers

from edge_runtime.convert import FloatType, convert_model
from edge_runtime.convert.architectures import describe_model
from edge_runtime.convert.multimodal import text_config
from tests.edge_runtime.convert.test_converter import SHAPE, relative_error, save
from tests.edge_runtime.tiny_models import TEXT, hf_logits, random_model


def test_text_part_gives_the_logits_of_transformers(tmp_path: Path, open_gguf: Any) -> None:
    text = transformers.Gemma3TextConfig(
        **SHAPE, num_hidden_layers=7, head_dim=64, query_pre_attn_scalar=64, sliding_window=16
    )
    images = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = transformers.Gemma3Config(text_config=text.to_dict(), vision_config=images, mm_tokens_per_image=4)
    model = random_model(config, scale=0.05)
    save(model, tmp_path)
    convert_model(tmp_path, tmp_path / "m.gguf", FloatType.F32, "tiny")
    gguf = open_gguf(tmp_path / "m.gguf")
    ids = gguf.ids(TEXT)
    assert relative_error(gguf.logits(ids), hf_logits(model, ids)) < 0.01


def test_what_the_configuration_leaves_out_is_as_in_transformers() -> None:
    """As published with Gemma 3 4B: its text part names seven values."""
    said = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024}
    said |= {"model_type": "gemma3_text", "rope_scaling": {"factor": 8.0, "rope_type": "linear"}}
    found = text_config({"model_type": "gemma3", "text_config": said, "eos_token_id": [1, 106]})
    assert found["eos_token_id"] == [1, 106]
    whole = transformers.Gemma3TextConfig(
        hidden_size=2560, intermediate_size=10240, num_hidden_layers=34, sliding_window=1024,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    )  # fmt: skip
    assert describe_model(found).metadata == describe_model(whole.to_dict()).metadata


def test_model_of_text_alone_keeps_its_configuration() -> None:
    config = {"model_type": "llama", "text_config": {}}
    assert text_config(config) is config
