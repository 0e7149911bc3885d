"""The whole chain at toy size: from a data folder to a pair that the service loads and evaluation scores."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from transformers import AutoTokenizer, LlamaForCausalLM
from typer.testing import CliRunner

from cloud_service.generator import load_generator
from contract.digest import file_sha256, model_digest
from tests.training.conftest import TrainedPair
from training import cli, nano
from training.evaluate import DIFFERENCES, evaluate_pair, load_suites, markdown_table, suites_document
from training.measure import COLUMNS, Scores

SUITES = ("tasks-seen", "tasks-paraphrased", "tools-seen", "tools-unseen", "tasks-unseen")


@pytest.fixture(scope="module")
def commands() -> typer.Typer:
    """`loragen` with the two commands plugged in."""
    app = typer.Typer()
    app.command("train")(cli.train)
    app.command("evaluate")(cli.evaluate)
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


def test_tiny_run_does_not_touch_the_place_of_the_real_pair(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = []
    monkeypatch.setattr(nano, "train_pair", lambda recipe, data, out, runs, compiled: calls.append((recipe, out, runs)))
    nano.main(["--data", "x"])
    nano.main(["--data", "x", "--tiny"])
    nano.main(["--data", "x", "--tiny", "--out", "a", "--runs", "b"])
    assert calls == [
        (nano.NANO, Path("models/nano"), Path("runs/nano")),
        (nano.TINY, Path("build/tiny"), Path("runs/tiny")),
        (nano.TINY, Path("a"), Path("b")),
    ]


def test_data_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--data must name the folder"):
        nano.main(["--data", str(tmp_path), "--out", str(tmp_path / "o"), "--runs", str(tmp_path / "r"), "--tiny"])


@pytest.fixture(scope="module")
def scores(tiny_pair: TrainedPair, data: Path) -> dict[str, Scores]:
    return evaluate_pair(tiny_pair.out, data, "test", episodes=2, inputs=2)


def test_evaluation_scores_every_suite_with_its_controls(scores: dict[str, Scores]) -> None:
    assert tuple(scores) == SUITES
    for suite in scores.values():
        assert suite.instances == 4
        assert tuple(suite.exact) == COLUMNS
        assert all(values.shape == (2,) and 0 <= values.min() <= values.max() <= 1 for values in suite.exact.values())
        assert suite.tokens["specialized"] < suite.tokens["prompted"]


def test_unseen_suites_hold_what_training_never_draws(data: Path) -> None:
    suites = load_suites(data)
    assert tuple(suites) == SUITES
    seen, unseen = ({known.tool.name for known in suites[f"tools-{kind}"].tools} for kind in ("seen", "unseen"))
    assert seen
    assert unseen
    assert not seen & unseen


def test_table_and_document_tell_every_suite(scores: dict[str, Scores]) -> None:
    lines = markdown_table(scores).splitlines()
    assert len(lines) == 2 + len(SUITES)
    assert len({line.count("|") for line in lines}) == 1
    document = json.loads(json.dumps(suites_document(scores)))
    assert set(document) == set(SUITES)
    assert set(document["tools-seen"]["score"]) == set(COLUMNS)
    assert set(document["tools-seen"]["difference"]) == {f"{a} - {b}" for a, b in DIFFERENCES}


def test_evaluate_command_passes_its_options_on(commands: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    from training import evaluate

    calls: list[list[str]] = []
    monkeypatch.setattr(evaluate, "main", calls.append)
    arguments = ["--data", "d", "--split", "validation", "--quick", "--table", "t.md"]
    assert CliRunner().invoke(commands, ["evaluate", *arguments]).exit_code == 0
    expected = "--data=d --pair=models/nano --out=build/eval.json --table=t.md --split=validation --quick"
    assert calls == [expected.split()]
    assert CliRunner().invoke(commands, ["evaluate", "--data", "d", "--split", "train"]).exit_code == 2


def test_unknown_recipe_is_a_usage_error(commands: typer.Typer) -> None:
    result = CliRunner().invoke(commands, ["train", "giant", "--data", "d"])
    assert result.exit_code == 2
