"""The files that an evaluation leaves: build/eval.json and evaluation.md."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loragen.contract.atomic import write_atomic
from training.evaluation.intervals import Interval
from training.evaluation.results import COLUMNS, DIFFERENCES, EvaluationReport, SuiteResult
from training.evaluation.scoring import PROMPTED, SYSTEM
from training.evaluation.tables import markdown
from training.evaluation.targets import targets


def document(report: EvaluationReport) -> dict[str, Any]:
    """What build/eval.json holds: `about`, the figures of each suite, and the targets."""
    return {
        "about": dict(report.about),
        "suites": {result.suite.name: _suite(result) for result in report.suites},
        "targets": [asdict(target) | {"outcome": target.outcome} for target in targets(report.suites)],
    }


def write_report(report: EvaluationReport, out: Path, results: Path) -> str:
    """Writes the JSON to `out`, and the tables to `results`/evaluation.md.

    Returns:
        The Markdown.
    """
    text = markdown(report)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, (json.dumps(document(report), indent=2) + "\n").encode())
    results.mkdir(parents=True, exist_ok=True)
    (results / "evaluation.md").write_text(text)
    return text


def _suite(result: SuiteResult) -> dict[str, Any]:
    names = {column: result.interval(column, names=True) for column in COLUMNS}
    return {
        "tasks": len(result.scores),
        "inputs": result.inputs,
        "score": _known({column: result.interval(column) for column in COLUMNS}),
        "names": _known(names),
        "difference": _known({f"{a} - {b}": result.interval(a, b) for a, b in DIFFERENCES}),
        "chance": result.chance,
        "share_of_oracle_gain": _as_dict(result.oracle_gain()),
        "share_from_chance_to_oracle": _as_dict(result.chance_to_oracle()),
        "tokens": {column: result.tokens(column) for column in (SYSTEM, PROMPTED, "right")},
        "seconds": {column: result.seconds(column) for column in (PROMPTED, "right")},
        "first_seconds": {column: result.seconds(column, first=True) for column in (PROMPTED, "right")},
        "by_task": {
            task.name: {column: float(values.mean()) for column, values in task.score.items()} for task in result.scores
        },
    }


def _known(found: Mapping[str, Interval | None]) -> dict[str, Any]:
    return {column: asdict(value) for column, value in found.items() if value is not None}


def _as_dict(value: Interval | None) -> dict[str, float] | None:
    return None if value is None else asdict(value)
