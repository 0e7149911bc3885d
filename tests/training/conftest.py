"""What the tests of training share: one thread of torch, a made-up data folder, a tokenizer, and a trained toy pair."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import zstandard
from transformers import PreTrainedTokenizerFast

from tests.training.commands import run_command
from tests.training.packed import write_packed_data
from training.data.episodes import Mixture
from training.data.families import Sources, load_mixture
from training.fit.tokenizer import sample_texts, train_tokenizer


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Tiny shapes gain nothing from threads, and sums in one order are needed to compare bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for `--data`."""
    return write_packed_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def described(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up data with prose of many different paragraphs."""
    folder = Path(shutil.copytree(data, tmp_path_factory.mktemp("described") / "data"))
    for name in ("gutenberg", "openstax_ccby"):
        lines = [f"On evening {number} of {name} nobody spoke. The ships were gone. " * 4 for number in range(80)]
        text = "\n\n".join(lines) + "\n\n"
        (folder / f"text/{name}.txt.zst").write_bytes(zstandard.compress(text.encode()))
    return folder


@pytest.fixture(scope="session")
def mixture(data: Path) -> Mixture:
    """Every family over the made-up data."""
    return load_mixture(Sources(data))


@pytest.fixture(scope="session")
def tokenizer(data: Path, mixture: Mixture) -> PreTrainedTokenizerFast:
    """The nano tokenizer at toy size."""
    return train_tokenizer(sample_texts(mixture, data, 0, 40, 10), vocabulary=400, context=256)


@dataclass(frozen=True)
class TrainedPair:
    """Where `python -m training train nano --tiny` left its pair and its checkpoints."""

    out: Path
    runs: Path


@pytest.fixture(scope="session")
def tiny_pair(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedPair:
    """The whole chain at toy size; not to be altered."""
    root = tmp_path_factory.mktemp("tiny")
    pair = TrainedPair(root / "out", root / "runs")
    run_command("train", "nano", "--data", data, "--out", pair.out, "--runs", pair.runs, "--tiny")
    return pair
