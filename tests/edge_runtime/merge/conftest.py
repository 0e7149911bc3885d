"""Fixtures of the merge tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.edge_runtime.merge.tiny_models import (
    Gguf,
    byte_level_tokenizer,
    llama_config,
    random_model,
    save_tokenizer,
)


@pytest.fixture(scope="session")
def llama_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama in Hugging Face form."""
    directory = tmp_path_factory.mktemp("llama")
    random_model(llama_config(), scale=0.05).save_pretrained(directory)
    save_tokenizer(byte_level_tokenizer(), directory)
    return directory


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
