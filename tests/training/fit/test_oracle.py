"""Oracles learn their own task, alone or in company, once."""

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


def test_company_in_the_batch_changes_no_oracle(edge: EdgeAnswers, tmp_path: Path) -> None:
    settings = OracleSettings(rank=2, alpha=4.0, steps=5, rows=3)
    tasks = [task("a", "one"), task("b", "two")]
    together = fit_oracles(edge, "d", tasks, settings, tmp_path / "together")
    (alone,) = fit_oracles(edge, "d", tasks[1:], settings, tmp_path / "alone")
    for key, (a, b) in alone.items():
        torch.testing.assert_close(together[1][key][0], a, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(together[1][key][1], b, rtol=1e-3, atol=1e-4)


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
