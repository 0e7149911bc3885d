"""Training at toy size: from a data folder to a generator that the service loads."""

from pathlib import Path

import numpy as np

from cloud_service.answer.choices import Choice
from cloud_service.generation import Asked
from cloud_service.generator import load_generator
from loragen.contract.answer import AnswerContract
from loragen.contract.digest import file_sha256, model_digest
from tests.training.commands import run_command
from tests.training.conftest import TrainedPair


def test_training_ends_in_a_generator_that_loads(tiny_pair: TrainedPair) -> None:
    out = tiny_pair.out
    loaded = load_generator(out / "generator", out / "cloud", out / "edge")
    assert loaded.info.edge_model_id == "edge"
    assert loaded.info.edge_model_digest == model_digest(out / "edge")
    first, second = loaded.generate([Asked("Choose the tool."), Asked("Give the last word.")])
    assert first.gates.shape == (2, 3, 7)  # four experts, two for the arguments of calls, and one for labels
    assert np.isfinite(first.gates).all()
    assert (first.gates != second.gates).any()
    b = loaded.bank.factors(1, "up")[1]
    assert all(b[expert].any() for expert in range(7)), "experts have moved, those for calls and labels too"


def test_training_fits_the_choice_head(tiny_pair: TrainedPair) -> None:
    out = tiny_pair.out
    loaded = load_generator(out / "generator", out / "cloud", out / "edge")
    choices = (Choice("play", "play a song"), Choice("wake", "set an alarm"))
    (generation,) = loaded.generate(
        [Asked("Choose the tool.", choices, answer=AnswerContract("choice", ("play", "wake")))]
    )
    assert loaded.info.most_choices == 5
    assert generation.answer.choices == ("play", "wake")
    assert generation.keys is not None
    assert generation.keys.any()
    assert not generation.gates.any()
    assert all(factor.any() for factor in loaded.bank.choice_factors(1))


def test_second_call_resumes_to_the_same_bytes(data: Path, tiny_pair: TrainedPair, tmp_path: Path) -> None:
    """Through the command line, with every step finished: nothing is trained, the same generator comes out."""
    run_command("train", tiny_pair.config, "--data", data, "--out", tmp_path / "out", "--runs", tiny_pair.runs)
    manifest = "generator/generator.json"  # has the digests of the other files
    assert file_sha256(tmp_path / "out" / manifest) == file_sha256(tiny_pair.out / manifest)
    assert not (tmp_path / "out" / "cloud").exists(), "models that are only read are not copied"
