"""Answers survive, and belong to exactly the task that was asked."""

from dataclasses import replace
from pathlib import Path

from cloud_service.task import TaskDescription
from training.data.episodes import Instance
from training.evaluation.records import Answers, Records
from training.evaluation.suites import SuiteTask

TASK = SuiteTask("one", TaskDescription("Do it."), (Instance("hi", "a"), Instance("you", "b")), ())
FOUND = {"base": Answers(("a", "é"), (0.1, 0.2), (3, 4)), "right": Answers(("", ""), (), ())}


def test_stored_answers_are_read_again(tmp_path: Path) -> None:
    Records(tmp_path).store("near", TASK, FOUND)
    assert Records(tmp_path).load("near", TASK) == FOUND
    assert Records(tmp_path).load("far", TASK) == {}


def test_answers_to_other_inputs_or_another_description_are_not_read(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.store("near", TASK, FOUND)
    for changed in (
        replace(TASK, description=TaskDescription("Do it now.")),
        replace(TASK, instances=TASK.instances[:1]),
        replace(TASK, choices=(("a", "b"),) * 2),
    ):
        assert records.load("near", changed) == {}
    assert records.load("near", replace(TASK, name="renamed", practice=TASK.instances)) == FOUND
