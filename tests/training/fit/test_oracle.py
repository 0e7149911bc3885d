"""Oracles learn their own task, alone or in company, once."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from cloud_service.generator.answer_batch import answer_loss
from cloud_service.task import TaskDescription
from tests.training.models import tiny_model
from training.data.episodes import Instance
from training.evaluation.edge_writer import EdgeWriter
from training.evaluation.suites import SuiteTask
from training.fit.edge_answers import EdgeAnswers
from training.fit.oracle import OracleSettings, fit_oracles

SETTINGS = OracleSettings(rank=4, alpha=4.0, steps=40, rows=4, learning_rate=2e-2)


def task(name: str, answer: str) -> SuiteTask:
    instances = tuple(Instance(f"say {number}", answer) for number in range(8))
    return SuiteTask(name, TaskDescription(name), instances, instances)


@pytest.fixture(scope="module")
def edge(tokenizer: PreTrainedTokenizerFast) -> EdgeAnswers:
    return EdgeAnswers(tiny_model(tokenizer, 3), tokenizer, longest=100, dtype=torch.float32)


def test_oracle_answers_its_task_and_leaves_the_model_alone(
    edge: EdgeAnswers, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    writer = EdgeWriter(edge.model, tokenizer, longest=100)
    before = {name: value.clone() for name, value in edge.model.state_dict().items()}
    tasks = [task("yes", "yes"), task("no", "no")]
    inputs = [instance.input for instance in tasks[0].instances]
    for one, factors in zip(tasks, fit_oracles(edge, "d", tasks, SETTINGS, tmp_path), strict=True):
        batch = edge.chat.batch(one.instances, [None] * 8)
        with torch.inference_mode():
            untrained = answer_loss(edge.logits(batch, None), batch).item()
            trained = answer_loss(edge.logits(batch, factors), batch).item()
            assert trained < 0.5 * untrained
        choices = [["yes", "no"]] * 8
        chosen = writer.answer(inputs, [None] * 8, factors, 0, choices).chosen
        assert set(chosen) == {0 if one.name == "yes" else 1}
    assert all(torch.equal(value, before[name]) for name, value in edge.model.state_dict().items())


def test_training_ends_when_held_out_instances_get_no_better_and_the_best_factors_stay(
    edge: EdgeAnswers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Answers by chance: what is learned of some is wrong for the others."""
    rng = random.Random(0)
    noise = tuple(Instance(f"say {number}", rng.choice(["yes", "no", "on", "off"])) for number in range(32))
    one = replace(task("noise", ""), practice=noise)
    (best,) = fit_oracles(edge, "d", [one], replace(SETTINGS, steps=300), tmp_path)
    assert "300 steps" not in capsys.readouterr().out
    (longer,) = fit_oracles(edge, "d", [one], replace(SETTINGS, steps=300, look=301), tmp_path)
    batch = edge.chat.batch(noise, [None] * len(noise))
    with torch.inference_mode():
        losses = [answer_loss(edge.logits(batch, factors), batch).item() for factors in (best, longer)]
    assert losses[0] > losses[1], "the longer one has learned its practice by heart"


def test_finished_oracle_is_read_from_disk_unless_something_that_decides_it_changed(
    edge: EdgeAnswers, tmp_path: Path
) -> None:
    settings = OracleSettings(rank=2, alpha=2.0, steps=2, rows=2)
    fit_oracles(edge, "d", [task("a", "one")], settings, tmp_path)
    (path,) = tmp_path.iterdir()
    written = path.stat().st_mtime_ns
    fit_oracles(edge, "d", [task("a", "one")], settings, tmp_path)
    assert [p.stat().st_mtime_ns for p in tmp_path.iterdir()] == [written]
    fit_oracles(edge, "another edge model", [task("a", "one")], settings, tmp_path)
    fit_oracles(edge, "d", [task("a", "two")], settings, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
