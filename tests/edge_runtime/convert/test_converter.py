"""A converted base GGUF is the same model: same token ids, same logits."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from gguf import GGUFReader
from safetensors.torch import load_file, save_file

from edge_runtime.convert import FloatType, convert_model
from edge_runtime.convert.architectures import describe_model
from edge_runtime.errors import ConversionError
from loragen.contract.digest import model_digest
from loragen.contract.edge_families import EDGE_FAMILIES
from tests.edge_runtime.tiny_models import (
    TEXT,
    VOCABULARY,
    byte_level_tokenizer,
    hf_logits,
    llama_config,
    random_model,
    save_tokenizer,
)

SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
FAMILIES = {
    "llama-untied": lambda: llama_config(tie_word_embeddings=False),
    "llama-head-size": lambda: llama_config(head_dim=32),
    "llama3-rope": lambda: llama_config(rope_parameters=LLAMA_3_ROPE),
    "llama-linear-rope": lambda: llama_config(
        rope_parameters={"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
    ),
    "mistral": lambda: transformers.MistralConfig(**SHAPE, num_hidden_layers=2, head_dim=64, sliding_window=None),
    # Enough layers that two of them do not rotate.
    "smollm3": lambda: transformers.SmolLM3Config(**SHAPE, num_hidden_layers=8),
    "granite": lambda: transformers.GraniteConfig(
        **SHAPE,
        num_hidden_layers=2,
        embedding_multiplier=3.0,
        residual_multiplier=0.5,
        logits_scaling=4.0,
        attention_multiplier=0.3,
    ),
    "olmo2": lambda: transformers.Olmo2Config(**SHAPE, num_hidden_layers=2),
    "qwen2": lambda: transformers.Qwen2Config(**SHAPE, num_hidden_layers=2, tie_word_embeddings=True),
    "qwen3": lambda: transformers.Qwen3Config(**SHAPE, num_hidden_layers=2, head_dim=64, tie_word_embeddings=False),
    # Windows are shorter than the text, so that a layer of the wrong kind shows.
    "gemma2": lambda: transformers.Gemma2Config(
        **SHAPE,
        num_hidden_layers=4,
        head_dim=64,
        query_pre_attn_scalar=64,
        sliding_window=16,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=3.0,
    ),
    "gemma3": lambda: transformers.Gemma3TextConfig(
        **SHAPE, num_hidden_layers=7, head_dim=64, query_pre_attn_scalar=64, sliding_window=16
    ),
    "gemma3-linear-rope": lambda: transformers.Gemma3TextConfig(
        **SHAPE,
        num_hidden_layers=7,
        head_dim=64,
        query_pre_attn_scalar=64,
        sliding_window=16,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    ),
    "qwen2-linear-rope": lambda: transformers.Qwen2Config(
        **SHAPE,
        num_hidden_layers=2,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0},
    ),
}


def test_every_family_is_converted_here_and_named_as_in_the_contract():
    configs = [make() for make in FAMILIES.values()]
    assert {config.model_type for config in configs} == EDGE_FAMILIES.keys()
    assert all(describe_model(config.to_dict()).name == EDGE_FAMILIES[config.model_type] for config in configs)


def save(model: Any, directory: Path) -> None:
    model.save_pretrained(directory)
    save_tokenizer(byte_level_tokenizer(), directory)


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / expected.std())


def test_convert_llama_gives_the_token_ids_and_logits_of_transformers(llama_directory, tmp_path, open_gguf):
    convert_model(llama_directory, tmp_path / "m.gguf", FloatType.F16, "tiny-edge")
    gguf = open_gguf(tmp_path / "m.gguf")
    ids = transformers.AutoTokenizer.from_pretrained(llama_directory)(TEXT)["input_ids"]
    assert gguf.ids(TEXT) == ids
    model = transformers.AutoModelForCausalLM.from_pretrained(llama_directory)
    assert relative_error(gguf.logits(ids), hf_logits(model, ids)) < 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_convert_family_gives_the_logits_of_transformers(family, tmp_path, open_gguf):
    model = random_model(FAMILIES[family](), scale=0.05)
    save(model, tmp_path)
    convert_model(tmp_path, tmp_path / "m.gguf", FloatType.F32, "tiny")
    gguf = open_gguf(tmp_path / "m.gguf")
    ids = gguf.ids(TEXT)
    assert len(ids) > 64
    assert relative_error(gguf.logits(ids), hf_logits(model, ids)) < 0.01


def test_convert_chat_template_renders_to_the_ids_of_transformers(llama_directory, tmp_path, open_gguf):
    convert_model(llama_directory, tmp_path / "m.gguf", FloatType.F16, "tiny-edge")
    tokenizer = transformers.AutoTokenizer.from_pretrained(llama_directory)
    messages = [{"role": "user", "content": "Is it 3:45?"}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    gguf = open_gguf(tmp_path / "m.gguf")
    ids = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    assert gguf.ids(rendered, special=True) == ids
    assert ids[:2] == [1, 3], "special tokens are single tokens"
    assert gguf.llama.metadata["tokenizer.chat_template"] == tokenizer.chat_template


def test_convert_special_token_in_user_text_stays_text(llama_directory, tmp_path, open_gguf):
    """A user who types `<|end|>` does not end the turn."""
    convert_model(llama_directory, tmp_path / "m.gguf", FloatType.F16, "tiny-edge")
    assert 2 not in open_gguf(tmp_path / "m.gguf").ids("stop <|end|> here", special=False)


def test_convert_records_model_id_and_digest_and_special_tokens(llama_directory, tmp_path):
    convert_model(llama_directory, tmp_path / "m.gguf", FloatType.F16, "tiny-edge")
    fields = {name: field.contents() for name, field in GGUFReader(tmp_path / "m.gguf").fields.items()}
    assert fields["loragen.edge_model.id"] == "tiny-edge"
    assert fields["loragen.edge_model.digest"] == model_digest(llama_directory)
    assert fields["tokenizer.ggml.add_bos_token"] is False
    roles = {role: fields[f"tokenizer.ggml.{role}_token_id"] for role in ("bos", "eos", "padding")}
    assert roles == {"bos": 1, "eos": 2, "padding": 0}
    assert len(fields["tokenizer.ggml.tokens"]) == VOCABULARY


def test_convert_bfloat16_checkpoint_is_exact_in_a_bfloat16_base(tmp_path):
    model = random_model(llama_config()).to(torch.bfloat16)
    save(model, tmp_path)
    convert_model(tmp_path, tmp_path / "m.gguf", FloatType.BF16, "tiny")
    stored = {t.name: t for t in GGUFReader(tmp_path / "m.gguf").tensors}
    expected = model.state_dict()["model.layers.1.mlp.down_proj.weight"].view(torch.uint16).numpy()
    found = np.asarray(stored["blk.1.ffn_down.weight"].data).view(np.uint16).reshape(expected.shape)
    assert np.array_equal(found, expected)


def test_convert_float32_checkpoint_rounds_to_the_nearest_bfloat16(tmp_path):
    model = random_model(llama_config())
    save(model, tmp_path)
    convert_model(tmp_path, tmp_path / "m.gguf", FloatType.BF16, "tiny")
    stored = {t.name: t for t in GGUFReader(tmp_path / "m.gguf").tensors}
    expected = model.state_dict()["model.layers.0.mlp.up_proj.weight"].to(torch.bfloat16).view(torch.uint16).numpy()
    found = np.asarray(stored["blk.0.ffn_up.weight"].data).view(np.uint16).reshape(expected.shape)
    assert np.array_equal(found, expected)


def edit_config(directory: Path, **changes: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mamba"}, "architecture 'mamba'"),
        ({"hidden_act": "relu"}, "hidden_act"),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}}, "'yarn'"),
        ({"partial_rotary_factor": 0.5}, "partial rotary"),
        ({"num_hidden_layers": 3}, "missing"),
        ({"num_hidden_layers": 1}, "unknown"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers"),
        ({"vocab_size": 700}, "700"),
    ],
)
def test_convert_configuration_that_llama_cpp_would_run_differently_is_refused(
    changes, message, llama_directory, tmp_path
):
    shutil.copytree(llama_directory, tmp_path / "hf")
    edit_config(tmp_path / "hf", **changes)
    with pytest.raises(ConversionError, match=message):
        convert_model(tmp_path / "hf", tmp_path / "m.gguf", FloatType.F16, "tiny")
    assert not list(tmp_path.glob("m.gguf*"))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("gemma2", {"query_pre_attn_scalar": 100}, "query_pre_attn_scalar"),
        ("gemma2", {"layer_types": ["full_attention"] * 4}, "layer_types"),
        ("gemma3", {"hidden_activation": "silu"}, "activation"),
        ("qwen2", {"use_sliding_window": True}, "use_sliding_window"),
    ],
)
def test_convert_family_setting_without_counterpart_is_refused(kind, changes, message, tmp_path):
    save(random_model(FAMILIES[kind]()), tmp_path)
    edit_config(tmp_path, **changes)
    with pytest.raises(ConversionError, match=message):
        convert_model(tmp_path, tmp_path / "m.gguf", FloatType.F16, "tiny")


def test_convert_weight_beyond_float16_is_refused_and_leaves_no_file(llama_directory, tmp_path):
    shutil.copytree(llama_directory, tmp_path / "hf")
    weights = load_file(tmp_path / "hf" / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 4] = 1e6
    save_file(weights, tmp_path / "hf" / "model.safetensors")
    with pytest.raises(ConversionError, match=r"blk\.1\.ffn_up"):
        convert_model(tmp_path / "hf", tmp_path / "m.gguf", FloatType.F16, "tiny")
    assert not list(tmp_path.glob("m.gguf*"))
