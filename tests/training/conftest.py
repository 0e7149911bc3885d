"""What the tests of training share: one thread of torch, a made-up data folder, a tokenizer, and a trained toy pair."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import zstandard
from transformers import PreTrainedTokenizerFast

from tests.torch_threads import one_thread
from tests.training.commands import run_command
from tests.training.models import store_tiny_models, texts_of_episodes, toy_tokenizer
from tests.training.packed import write_packed_data
from training.data.episodes import Mixture
from training.data.families import Sources, load_mixture


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


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
def tokenizer(mixture: Mixture) -> PreTrainedTokenizerFast:
    """A tokenizer that knows some of training's words."""
    return toy_tokenizer(texts_of_episodes(mixture, 40))


@dataclass(frozen=True)
class TrainedPair:
    """Where a pair, its training config and its checkpoints are."""

    out: Path
    config: Path
    runs: Path


@pytest.fixture(scope="session")
def tiny_pair(data: Path, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> TrainedPair:
    """A generator for two tiny random models, trained for some steps; not to be altered."""
    root = tmp_path_factory.mktemp("tiny")
    pair = TrainedPair(root / "out", store_tiny_models(root / "out", tokenizer), root / "runs")
    run_command("train", pair.config, "--data", data, "--out", pair.out, "--runs", pair.runs)
    return pair
