"""Checkpoints of one file or several are read; damaged or incomplete ones are refused."""

import shutil

import numpy as np
import pytest
import transformers
from gguf import GGUFReader

from edge_runtime.convert import FloatType, convert_model
from edge_runtime.errors import ConversionError


def test_convert_sharded_checkpoint_equals_a_single_file(llama_directory, tmp_path):
    sharded = tmp_path / "sharded"
    transformers.AutoModelForCausalLM.from_pretrained(llama_directory).save_pretrained(sharded, max_shard_size="1MB")
    assert len(list(sharded.glob("*.safetensors"))) > 1
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(llama_directory / name, sharded)
    convert_model(llama_directory, tmp_path / "one.gguf", FloatType.F16, "tiny")
    convert_model(sharded, tmp_path / "many.gguf", FloatType.F16, "tiny")
    one, many = (GGUFReader(tmp_path / name).tensors for name in ("one.gguf", "many.gguf"))
    assert all(np.array_equal(a.data, b.data) for a, b in zip(one, many, strict=True))


@pytest.mark.parametrize("length", [0, 7, 8, 100, 5000])
def test_convert_truncated_weights_are_refused(length, llama_directory, tmp_path):
    shutil.copytree(llama_directory, tmp_path / "hf")
    path = tmp_path / "hf" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ConversionError, match=r"model\.safetensors|truncated"):
        convert_model(tmp_path / "hf", tmp_path / "m.gguf", FloatType.F16, "tiny")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_convert_directory_without_a_file_is_refused(name, llama_directory, tmp_path):
    shutil.copytree(llama_directory, tmp_path / "hf")
    (tmp_path / "hf" / name).unlink()
    with pytest.raises(ConversionError, match=name.partition(".")[2]):
        convert_model(tmp_path / "hf", tmp_path / "m.gguf", FloatType.F16, "tiny")
