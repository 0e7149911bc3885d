"""The validation table and its controls."""

import random
from pathlib import Path

from tests.training.memory.small import Routing, small_run
from training.evaluation.suites.tasks import SuiteTask
from training.memory.validation import COLUMNS, Validation


def suite_task(number: int) -> SuiteTask:
    episode = Routing().draw(random.Random(number), "validation", 2)
    return SuiteTask(f"two/{number}", (episode.task,), episode.instances, (), (episode.labels,) * 2)


def test_every_suite_is_scored_in_every_column(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    tasks = [("two", suite_task(number)) for number in range(3)]
    validation = Validation(run.edge, run.models.edge_tokenizer, run.models.encoder, tasks)
    table = validation.table(run.averaged(), run.averaged_over())
    assert list(table["two"]) == list(COLUMNS)
    assert {cell.inputs for cell in table["two"].values()} == {6}
    losses = {column: cell.loss for column, cell in table["two"].items()}
    assert losses["right"] != losses["base"]
    assert losses["right"] != losses["mismatched"]
