"""The whole chain at toy size: from a data folder to a pair that the service loads."""

from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from transformers import AutoTokenizer, LlamaForCausalLM
from typer.testing import CliRunner

from cloud_service.generator import load_generator
from loragen.contract.digest import file_sha256, model_digest
from tests.training.conftest import TrainedPair
from training import cli
from training.fit import train
from training.fit.config import load_recipe


@pytest.fixture(scope="module")
def commands() -> typer.Typer:
    """`loragen` with the command plugged in."""
    app = typer.Typer()
    app.callback()(lambda: None)
    app.command("train")(cli.train)
    return app


def test_tiny_chain_ends_in_a_generator_that_loads(tiny_pair: TrainedPair) -> None:
    out = tiny_pair.out
    loaded = load_generator(out / "generator", out / "cloud", out / "edge")
    assert loaded.info.edge_model_id == "nano-edge"
    assert loaded.info.edge_model_digest == model_digest(out / "edge")
    first, second = loaded.generate(["Choose the tool.", "Give the last word."])
    assert first.gates.shape == (2, 3, 4)
    assert np.isfinite(first.gates).all()
    assert (first.gates != second.gates).any()
    assert loaded.bank.factors(1, "down")[1].any(), "experts have moved"


def test_models_are_stored_with_their_tokenizer_and_template(tiny_pair: TrainedPair) -> None:
    for name, layers in (("edge", 2), ("cloud", 3)):
        model = LlamaForCausalLM.from_pretrained(tiny_pair.out / name, dtype="auto")
        assert model.dtype == torch.float16
        assert model.config.num_hidden_layers == layers
        tokenizer = AutoTokenizer.from_pretrained(tiny_pair.out / name)
        assert len(tokenizer) == model.config.vocab_size
        assert tokenizer.chat_template


def test_second_call_resumes_to_the_same_bytes(
    commands: typer.Typer, data: Path, tiny_pair: TrainedPair, tmp_path: Path
) -> None:
    """Through the command line, with every step finished: nothing is trained, the same pair comes out."""
    options = ["--data", str(data), "--out", str(tmp_path / "out"), "--runs", str(tiny_pair.runs), "--tiny"]
    result = CliRunner().invoke(commands, ["train", "nano", *options])
    assert result.exit_code == 0, result.output
    for name in ("generator/generator.json", "edge/model.safetensors", "cloud/model.safetensors"):
        assert file_sha256(tmp_path / "out" / name) == file_sha256(tiny_pair.out / name)


def test_tiny_run_does_not_touch_the_place_of_the_real_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(train, "train_pair", lambda recipe, data, out, runs: calls.append((recipe, out, runs)))
    train.main(["nano", "--data", "x"])
    train.main(["nano", "--data", "x", "--tiny"])
    train.main(["nano", "--data", "x", "--tiny", "--out", "a", "--runs", "b"])
    assert calls == [
        (load_recipe("nano"), Path("models/nano"), Path("runs/nano")),
        (load_recipe("nano", tiny=True), Path("build/nano-tiny"), Path("runs/nano-tiny")),
        (load_recipe("nano", tiny=True), Path("a"), Path("b")),
    ]


def test_data_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    options = ["--data", str(tmp_path), "--out", str(tmp_path / "o"), "--runs", str(tmp_path / "r"), "--tiny"]
    with pytest.raises(FileNotFoundError, match="--data must name the folder"):
        train.main(["nano", *options])


def test_unknown_recipe_is_a_usage_error(commands: typer.Typer) -> None:
    result = CliRunner().invoke(commands, ["train", "giant", "--data", "d"])
    assert result.exit_code == 2
    assert "there is no recipe giant" in result.output
