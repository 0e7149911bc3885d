"""Fixtures of the merge tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_runtime.convert import convert_model
from loragen.contract.bundle import Bundle
from loragen.contract.digest import model_digest
from loragen.contract.lora import EdgeShape
from tests.edge_runtime.tiny_models import (
    Gguf,
    byte_level_tokenizer,
    llama_config,
    random_model,
    save_tokenizer,
    tiny_bundle,
)


@pytest.fixture(scope="session")
def llama_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama in Hugging Face form."""
    directory = tmp_path_factory.mktemp("llama")
    random_model(llama_config(), scale=0.05).save_pretrained(directory)
    save_tokenizer(byte_level_tokenizer(), directory)
    return directory


@pytest.fixture(scope="session")
def base_gguf(llama_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The F16 base GGUF of the tiny Llama."""
    path = tmp_path_factory.mktemp("base_model") / "base.gguf"
    convert_model(llama_directory, path, "F16", "nano-edge")
    return path


@pytest.fixture(scope="session")
def bundle(llama_directory: Path) -> Bundle:
    """A LoRA for the tiny Llama, with a delta of about 3 % of its weights."""
    return tiny_bundle(EdgeShape(layers=2, hidden=256, intermediate=512), model_digest(llama_directory))


@pytest.fixture
def open_gguf() -> Iterator[Callable[[Path], Gguf]]:
    """Opens GGUF models and closes them after the test."""
    opened: list[Gguf] = []

    def open_one(path: Path) -> Gguf:
        opened.append(Gguf(path))
        return opened[-1]

    yield open_one
    for gguf in opened:
        gguf.llama.close()
