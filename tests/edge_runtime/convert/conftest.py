"""Fixtures of the conversion tests: a model that is converted with any tokenizer."""

import shutil
from pathlib import Path

import pytest

from edge_runtime.convert import FloatType, convert_model
from tests.edge_runtime.tiny_models import (
    llama_config,
    random_model,
)


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """A model as small as llama.cpp takes, without a tokenizer."""
    directory = tmp_path_factory.mktemp("weights")
    config = llama_config(hidden_size=64, intermediate_size=64, num_hidden_layers=1)
    random_model(config).save_pretrained(directory)
    return directory


@pytest.fixture
def open_converted(weights, tmp_path, open_gguf):
    """Converts the weights with whatever tokenizer the test has put into `tmp_path`, and opens the result."""

    def convert():
        for path in weights.iterdir():
            shutil.copy(path, tmp_path)
        convert_model(tmp_path, tmp_path / "m.gguf", FloatType.F16, "tiny")
        return open_gguf(tmp_path / "m.gguf")

    return convert
