"""The whole chain at toy size: from a data folder to a pair that the service loads."""

from pathlib import Path

import numpy as np

from cloud_service.generation import Asked
from cloud_service.generator import load_generator
from loragen.contract.digest import file_sha256, model_digest
from tests.training.commands import run_command
from tests.training.conftest import TrainedPair


def test_tiny_chain_ends_in_a_generator_that_loads(tiny_pair: TrainedPair) -> None:
    out = tiny_pair.out
    loaded = load_generator(out / "generator", out / "cloud", out / "edge")
    assert loaded.info.edge_model_id == "nano-edge"
    assert loaded.info.edge_model_digest == model_digest(out / "edge")
    first, second = loaded.generate([Asked("Choose the tool."), Asked("Give the last word.")])
    assert first.gates.shape == (2, 3, 4)
    assert np.isfinite(first.gates).all()
    assert (first.gates != second.gates).any()
    assert loaded.bank.factors(1, "down")[1].any(), "experts have moved"


def test_second_call_resumes_to_the_same_bytes(data: Path, tiny_pair: TrainedPair, tmp_path: Path) -> None:
    """Through the command line, with every step finished: nothing is trained, the same pair comes out."""
    run_command("train", "nano", "--data", data, "--out", tmp_path / "out", "--runs", tiny_pair.runs, "--tiny")
    for name in ("generator/generator.json", "edge/model.safetensors", "cloud/model.safetensors"):
        assert file_sha256(tmp_path / "out" / name) == file_sha256(tiny_pair.out / name)
