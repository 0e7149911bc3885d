"""The result document's shape, which other programs read, and the table."""

import json
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from demo.evaluation import Score
from demo.report import TaskResult, render_table, store_results
from loragen.cloud_answers import Generated, Timings
from loragen.device_answers import ServedModel

RESULT = TaskResult(
    name="router",
    inputs=100,
    scores={
        "base": Score(0.1, 12, 9.0, 4.0),
        "prompted": Score(0.5, 300, 80.0, 60.0),
        "specialized": Score(0.9, 12, 10.0, 5.0),
    },
    generated=Generated.model_construct(
        bundle_bytes=1_000_000,
        recipe_bytes=1_200,
        timings=Timings(queue_ms=0, generate_ms=42, assemble_ms=0, total_ms=42),
    ),
    served=ServedModel(id="router", state="merged", merge_seconds=0.7, retained_delta=0.98),
)


def test_document_has_exactly_the_published_shape(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "demo.json"
    store_results([RESULT], path)
    assert json.loads(path.read_text()) == {
        "tasks": [
            {
                "name": "router",
                "inputs": 100,
                "accuracy": {"base": 0.1, "prompted": 0.5, "specialized": 0.9},
                "input_tokens": {"prompted": 300, "specialized": 12},
                "latency_ms": {"prompted": 80.0, "specialized": 10.0},
                "first_token_ms": {"prompted": 60.0, "specialized": 5.0},
                "generate_ms": 42.0,
                "bundle_bytes": 1_000_000,
                "recipe_bytes": 1_200,
                "merge_seconds": 0.7,
                "retained_delta": 0.98,
            }
        ]
    }
    assert list(path.parent.iterdir()) == [path]


def test_closed_set_has_its_guided_figures_too(tmp_path: Path) -> None:
    closed = replace(RESULT, scores={**RESULT.scores, "guided": Score(0.6, 300, 80, 60)})
    store_results([RESULT, closed], tmp_path / "demo.json")
    first, second = json.loads((tmp_path / "demo.json").read_text())["tasks"]
    assert second == {**first, "accuracy": {**first["accuracy"], "guided": 0.6}}
    console = Console(width=80, record=True)
    console.print(render_table([RESULT, closed]))
    text = console.export_text()
    assert "60.0%" in text


def test_table_shows_every_figure() -> None:
    console = Console(width=80, record=True)
    console.print(render_table([RESULT, RESULT, RESULT]))
    text = console.export_text()
    for figure in ("10.0%", "50.0%", "90.0%", "300", "80 ms", "42 ms", "1000 kB", "1.2 kB", "0.70 s", "0.980"):
        assert figure in text
