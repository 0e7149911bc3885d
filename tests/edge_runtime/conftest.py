"""Fixtures of the edge runtime's tests: a tiny base GGUF, and a cloud that publishes for it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_runtime.convert import FloatType, convert_model
from edge_runtime.gguf.base_gguf import BaseGguf
from loragen.contract.bundle import Bundle
from loragen.contract.digest import model_digest
from loragen.contract.lora import EdgeShape
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.tiny_models import Gguf, save_tiny_llama, tiny_bundle

TINY_SHAPE = EdgeShape(layers=2, hidden=256, intermediate=512)

TINY_MODELS = "TINY_MODELS"
"""Environment variable: a folder with the models below, for a machine that has no transformers to make them with."""


def tiny_llama(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of one of `TINY_LLAMAS`."""
    if folder := os.environ.get(TINY_MODELS):
        return Path(folder) / name
    directory = tmp_path_factory.mktemp(name)
    save_tiny_llama(name, directory)
    return directory


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The F16 base GGUF of a tiny random Llama with a tokenizer and a chat template."""
    path = tmp_path_factory.mktemp("tiny_base") / "base.gguf"
    convert_model(tiny_llama("tiny-edge", tmp_path_factory), path, FloatType.F16, "tiny-edge")
    return path


@pytest.fixture(scope="session")
def tiny_digest(tiny_base: Path) -> str:
    """The edge-model digest of the tiny base GGUF."""
    with BaseGguf(tiny_base) as base_gguf:
        assert base_gguf.digest is not None
        return base_gguf.digest


@pytest.fixture
def cloud(tmp_path: Path, tiny_digest: str) -> Iterator[FakeCloud]:
    """A cloud whose generator is for the tiny base GGUF."""
    directory = tmp_path / "cloud"
    directory.mkdir()
    fake = FakeCloud(directory, TINY_SHAPE, tiny_digest)
    yield fake
    fake.close()


@pytest.fixture(scope="session")
def llama_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama in Hugging Face form."""
    return tiny_llama("llama", tmp_path_factory)


@pytest.fixture(scope="session")
def base_gguf(llama_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The F16 base GGUF of the tiny Llama."""
    path = tmp_path_factory.mktemp("base_model") / "base.gguf"
    convert_model(llama_directory, path, FloatType.F16, "tiny-edge")
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
