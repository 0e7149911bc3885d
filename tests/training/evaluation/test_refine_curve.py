"""The curve of refinement on the toy pair: what is measured, shown, and not measured twice."""

import json
from pathlib import Path

import pytest
import typer

from tests.training.commands import run_command
from tests.training.conftest import TrainedPair
from training.evaluation import refine_curve
from training.evaluation.refine_curve import Measured, curve_table


@pytest.mark.slow
def test_curve_is_measured_once_and_printed(
    data: Path,
    tiny_pair: TrainedPair,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = ("--pair", tiny_pair.out, "--data", data, "--runs", tmp_path, "--tasks", 1, "--inputs", 2)
    split = ("--split", "test")
    suites = ("--suites", "tools-unseen", "--suites", "tasks-seen")
    run_command(
        "refine-curve", *options, *suites, "--counts", "4,8", "--steps", "2", "--prompted", 4, *split, "--oracles"
    )
    table = capsys.readouterr().out.splitlines()[-4:]
    lines = (tmp_path / "test.jsonl").read_text().splitlines()
    assert len(lines) >= 2
    assert any(row.startswith("| tools-unseen |") for row in table)
    assert all(json.loads(line)["oracle"] is not None for line in lines)

    monkeypatch.setattr(refine_curve._Bench, "measure", None)
    run_command("refine-curve", *options, *suites, "--counts", "4,8", "--steps", "2", *split)
    assert capsys.readouterr().out.splitlines()[-1] == table[-1]
    assert (tmp_path / "test.jsonl").read_text().splitlines() == lines


@pytest.mark.parametrize("option", [("--suites", "other"), ("--counts", "4,x"), ("--steps", "")])
def test_options_that_mean_nothing_are_refused(data: Path, option: tuple[str, str]) -> None:
    with pytest.raises(typer.BadParameter):
        run_command("refine-curve", "--data", data, *option)


def test_table_has_means_over_tasks() -> None:
    first = Measured("tools-unseen", "route/0", "keys", 16, 0, 24, 0.5, 0.75, 0.25, 1.0, True, 3.0, 40)
    second = Measured("tools-unseen", "route/1", "keys", 16, 0, 12, 1.0, 1.0, None, 0.5, False, 5.0, 41)
    assert curve_table([first, second]).splitlines()[2:] == [
        "| tools-unseen | keys | 16 |  | 2 | 36 |  | 75.0% | 87.5% | 75.0% | 1 | 4 |"
    ]
