"""Oracles of a pair answer a task of its edge model."""

from pathlib import Path

from cloud_service.task import TaskDescription
from tests.training.conftest import TrainedPair
from training.data.episodes import Instance
from training.evaluation.oracles import OracleAnswers
from training.evaluation.suites import SuiteTask
from training.fit.oracle import OracleSettings
from training.fit.trained_pair import pair_at


def test_oracle_chooses_from_a_closed_set_and_writes_otherwise(tiny_pair: TrainedPair, tmp_path: Path) -> None:
    instances = tuple(Instance(f"say {number}", "no") for number in range(4))
    oracles = OracleAnswers(
        pair_at(tiny_pair.out), tmp_path, OracleSettings(4, 4.0, steps=40, rows=4, learning_rate=2e-2)
    )
    open_task = SuiteTask("no", TaskDescription("Say no."), instances, instances)
    closed = SuiteTask("no", TaskDescription("Say no."), instances, instances, (("yes", "no"),) * 4)
    assert oracles.answer(closed).texts == ("no",) * 4
    found = oracles.answer(open_task)
    assert len(found.texts) == len(found.tokens) == 4
    assert found.seconds == ()
    assert len(list(tmp_path.iterdir())) == 1
