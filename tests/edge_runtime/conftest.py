"""Fixtures of the edge runtime's tests: a tiny master, and a cloud that publishes for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.lora import EdgeShape
from edge_runtime.merge.convert import convert_model
from edge_runtime.merge.master import Master
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.merge.tiny_models import byte_level_tokenizer, llama_config, random_model, save_tokenizer

TINY_SHAPE = EdgeShape(layers=2, hidden=256, intermediate=512)


@pytest.fixture(scope="session")
def tiny_master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The F16 master of a tiny random Llama with a tokenizer and a chat template."""
    directory = tmp_path_factory.mktemp("tiny-edge")
    random_model(llama_config(), seed=5, scale=0.1).save_pretrained(directory)
    save_tokenizer(byte_level_tokenizer(), directory)
    path = directory / "master.gguf"
    convert_model(directory, path, "F16", "nano-edge")
    return path


@pytest.fixture(scope="session")
def tiny_digest(tiny_master: Path) -> str:
    """The edge-model digest of the tiny master."""
    with Master.open(tiny_master) as master:
        assert master.digest is not None
        return master.digest


@pytest.fixture
def cloud(tmp_path: Path, tiny_digest: str) -> Iterator[FakeCloud]:
    """A cloud whose generator is for the tiny master."""
    directory = tmp_path / "cloud"
    directory.mkdir()
    fake = FakeCloud(directory, TINY_SHAPE, tiny_digest)
    yield fake
    fake.close()
