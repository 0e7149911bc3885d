"""Values: the demo's result, as a table for a person and as `build/demo.json` for a program."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from demo.evaluation import Score
from loragen.cloud_answers import Generated
from loragen.device_answers import ServedModel


@dataclass(frozen=True, slots=True)
class TaskResult:
    """Everything measured for one task.

    Attributes:
        inputs: How many held-out inputs there were.
        scores: By way, see `demo.evaluation.ways_of`.
    """

    name: str
    inputs: int
    scores: Mapping[str, Score]
    generated: Generated
    served: ServedModel


def store_results(results: Sequence[TaskResult], path: Path) -> None:
    """Write the JSON document: accuracies as shares, medians over the inputs, units as the names say."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"tasks": [_document(result) for result in results]}
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def render_table(results: Sequence[TaskResult]) -> Table:
    """One column a task, one row a figure."""
    table = Table(
        title="The same inputs, in several ways",
        caption="base, specialized: input only · prompted: whole prompt, then input\n"
        "guided: prompted, and each request names the answers possible (structured_outputs)",
    )
    table.add_column("")
    for result in results:
        table.add_column(result.name, justify="right")
    for label, cell in _ROWS:
        table.add_row(label, *(cell(result) for result in results), end_section=label in _SECTION_ENDS)
    return table


def _document(result: TaskResult) -> dict[str, object]:
    scores = result.scores
    ways = ("prompted", "specialized")
    return {
        "name": result.name,
        "inputs": result.inputs,
        "accuracy": {way: score.accuracy for way, score in scores.items()},
        "input_tokens": {way: scores[way].input_tokens for way in ways},
        "latency_ms": {way: scores[way].latency_ms for way in ways},
        "first_token_ms": {way: scores[way].first_token_ms for way in ways},
        "generate_ms": result.generated.timings.generate_ms,
        "bundle_bytes": result.generated.bundle_bytes,
        "recipe_bytes": result.generated.recipe_bytes,
        "merge_seconds": result.served.merge_seconds,
        "retained_delta": result.served.retained_delta,
    }


def _score(way: str, text: Callable[[Score], str]) -> Callable[[TaskResult], str]:
    def cell(result: TaskResult) -> str:
        score = result.scores.get(way)
        if score is None:
            return ""
        return f"[bold]{text(score)}[/bold]" if way.endswith("specialized") else text(score)

    return cell


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"


_ROWS: Sequence[tuple[str, Callable[[TaskResult], str]]] = (
    ("held-out inputs", lambda r: str(r.inputs)),
    ("accuracy, base", _score("base", lambda s: f"{s.accuracy:.1%}")),
    ("accuracy, prompted", _score("prompted", lambda s: f"{s.accuracy:.1%}")),
    ("accuracy, guided", _score("guided", lambda s: f"{s.accuracy:.1%}")),
    ("accuracy, specialized", _score("specialized", lambda s: f"{s.accuracy:.1%}")),
    ("input tokens, prompted", _score("prompted", lambda s: f"{s.input_tokens:g}")),
    ("input tokens, specialized", _score("specialized", lambda s: f"{s.input_tokens:g}")),
    ("first token, prompted", _score("prompted", lambda s: _milliseconds(s.first_token_ms))),
    ("first token, specialized", _score("specialized", lambda s: _milliseconds(s.first_token_ms))),
    ("whole answer, prompted", _score("prompted", lambda s: f"{s.latency_ms:.0f} ms")),
    ("whole answer, specialized", _score("specialized", lambda s: f"{s.latency_ms:.0f} ms")),
    ("generation", lambda r: f"{r.generated.timings.generate_ms:.0f} ms"),
    ("bundle", lambda r: f"{r.generated.bundle_bytes / 1000:.0f} kB"),
    ("recipe", lambda r: f"{r.generated.recipe_bytes / 1000:.1f} kB"),
    ("merge", lambda r: f"{r.served.merge_seconds or 0:.2f} s"),
    ("retained delta", lambda r: f"{r.served.retained_delta or 0:.3f}"),
)
_SECTION_ENDS = frozenset(
    {"held-out inputs", "accuracy, specialized", "input tokens, specialized", "whole answer, specialized"}
)
