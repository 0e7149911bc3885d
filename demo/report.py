"""Values: the demo's result, as a table for a person and as `build/demo.json` for a program."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from demo.clients import Generated, Merged
from demo.evaluation import Evaluation, Score


@dataclass(frozen=True, slots=True)
class TaskResult:
    """Everything measured for one task; `inputs` is their number."""

    name: str
    inputs: int
    evaluation: Evaluation
    generated: Generated
    merged: Merged


def encode_results(results: Sequence[TaskResult]) -> str:
    """The JSON document: accuracies as shares, medians over the inputs, times and sizes in units that names say."""
    return json.dumps({"tasks": [_document(result) for result in results]}, indent=2) + "\n"


def store_results(results: Sequence[TaskResult], path: Path) -> None:
    """Writes the JSON document, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(encode_results(results), encoding="utf-8")
    os.replace(temporary, path)


def render_table(results: Sequence[TaskResult]) -> Table:
    """One column a task, one row a figure."""
    table = Table(
        title="The same inputs, three ways",
        caption="base, specialized: input only · prompted: whole prompt, then input\n"
        "guided: each request names the answers possible (structured_outputs)",
    )
    table.add_column("")
    for result in results:
        table.add_column(result.name, justify="right")
    for label, cell, ends_section in _ROWS:
        table.add_row(label, *(cell(result) for result in results), end_section=ends_section)
    return table


def _document(result: TaskResult) -> dict[str, object]:
    base, prompted, specialized = result.evaluation.base, result.evaluation.prompted, result.evaluation.specialized
    guided = {"prompted": result.evaluation.guided_prompted, "specialized": result.evaluation.guided_specialized}
    accuracy_guided = {way: score.accuracy for way, score in guided.items() if score is not None}
    return {
        "name": result.name,
        "inputs": result.inputs,
        "accuracy": {
            "base": base.accuracy,
            "prompted": prompted.accuracy,
            "specialized": specialized.accuracy,
        },
        **({"accuracy_guided": accuracy_guided} if accuracy_guided else {}),
        "input_tokens": {"prompted": prompted.input_tokens, "specialized": specialized.input_tokens},
        "latency_ms": {"prompted": prompted.latency_ms, "specialized": specialized.latency_ms},
        "generate_ms": result.generated.generate_ms,
        "bundle_bytes": result.generated.bundle_bytes,
        "recipe_bytes": result.generated.recipe_bytes,
        "merge_seconds": result.merged.merge_seconds,
        "delta_retained_delta": result.merged.delta_retained_delta,
    }


def _accuracy(score: Score | None) -> str:
    return "" if score is None else f"{score.accuracy:.1%}"


_ROWS: tuple[tuple[str, Callable[[TaskResult], str], bool], ...] = (
    ("held-out inputs", lambda r: str(r.inputs), True),
    ("accuracy, base", lambda r: f"{r.evaluation.base.accuracy:.1%}", False),
    ("accuracy, prompted", lambda r: f"{r.evaluation.prompted.accuracy:.1%}", False),
    ("accuracy, specialized", lambda r: f"[bold]{r.evaluation.specialized.accuracy:.1%}[/bold]", False),
    ("guided, prompted", lambda r: _accuracy(r.evaluation.guided_prompted), False),
    ("guided, specialized", lambda r: f"[bold]{_accuracy(r.evaluation.guided_specialized)}[/bold]", True),
    ("input tokens, prompted", lambda r: f"{r.evaluation.prompted.input_tokens:g}", False),
    ("input tokens, specialized", lambda r: f"[bold]{r.evaluation.specialized.input_tokens:g}[/bold]", True),
    ("median latency, prompted", lambda r: f"{r.evaluation.prompted.latency_ms:.0f} ms", False),
    ("median latency, specialized", lambda r: f"[bold]{r.evaluation.specialized.latency_ms:.0f} ms[/bold]", True),
    ("generation", lambda r: f"{r.generated.generate_ms:.0f} ms", False),
    ("bundle", lambda r: f"{r.generated.bundle_bytes / 1000:.0f} kB", False),
    ("recipe", lambda r: f"{r.generated.recipe_bytes / 1000:.1f} kB", False),
    ("merge", lambda r: f"{r.merged.merge_seconds:.2f} s", False),
    ("retained delta", lambda r: f"{r.merged.delta_retained_delta:.3f}", False),
)
