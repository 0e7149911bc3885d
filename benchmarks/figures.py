"""Values: the published figures, and the document `build/bench.json` that holds them.

The document is `{figure: {"value", "unit", "baseline", "ratio", "target", "command"}}`. Rules: `value`, `baseline` and
`target` have the same unit, and `ratio` is always value / baseline; a factor (unit `x`) should be at least its target,
everything else at most; a partial run replaces its own figures and keeps the others. What is measured, and how, each
script says.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.errors import BenchmarkError
from loragen.contract.atomic import write_atomic

FACTOR = "x"
"""Unit of figures that say how many times faster or smaller: more is better."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One published number.

    Attributes:
        value: What was measured, a median where there are repetitions.
        unit: Unit of value, baseline and target.
        baseline: What it is compared with, as the script's docstring says; None when with nothing.
        ratio: value / baseline; None without one.
        target: What the value should be, at least for factors, at most for all others; None without a promise.
        command: Makes this figure again.
    """

    value: float
    unit: str
    baseline: float | None
    ratio: float | None
    target: float | None
    command: str

    @classmethod
    def of(
        cls, value: float, unit: str, command: str, *, baseline: float | None = None, target: float | None = None
    ) -> "Figure":
        """A figure with its numbers rounded for reading, and the ratio computed before that."""
        ratio = None if not baseline else round(value / baseline, 6)
        return cls(_rounded(value), unit, None if baseline is None else _rounded(baseline), ratio, target, command)

    @property
    def is_on_target(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.unit == FACTOR else self.value <= self.target


Figures = Mapping[str, Figure]


def parse_figures(document: object) -> dict[str, Figure]:
    """Figures by name, from decoded JSON.

    Raises:
        BenchmarkError: It is not a document of figures.
    """
    if not isinstance(document, dict):
        raise BenchmarkError(f"figures: expected an object, found {type(document).__name__}")
    return {name: _parse_figure(name, fields) for name, fields in document.items()}


def load_figures(path: Path) -> dict[str, Figure]:
    """The figures in a file; none when there is no file.

    Raises:
        BenchmarkError: The file holds something else.
    """
    if not path.exists():
        return {}
    try:
        return parse_figures(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, BenchmarkError) as error:
        raise BenchmarkError(f"{path} is not a document of figures ({error}); delete it to begin anew") from error


def merge_figures(path: Path, measured: Figures) -> None:
    """Write `measured` into the document at `path`, keeping the figures that were not measured now.

    Raises:
        BenchmarkError: The file holds something else.
    """
    figures = {**load_figures(path), **measured}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (_document(figures) + "\n").encode())


def print_figures(figures: Figures) -> None:
    """Print figures as JSON, as they stand in the document."""
    print(_document(figures))


def _document(figures: Figures) -> str:
    return json.dumps({name: asdict(figure) for name, figure in figures.items()}, indent=2)


def render_table(figures: Figures) -> Table:
    """One row a figure; a target that is missed stands out."""
    table = Table(title="Figures", caption="ratio is value / baseline; target: at least for factors (x), else at most")
    table.add_column("figure")
    for heading in ("value", "baseline", "ratio", "target"):
        table.add_column(heading, justify="right")
    for name, figure in figures.items():
        colour = {None: "", True: "green", False: "red"}[figure.is_on_target]
        value = f"{_shown(figure.value)} {figure.unit}"
        table.add_row(
            name,
            f"[{colour}]{value}[/]" if colour else value,
            _shown(figure.baseline),
            "" if figure.ratio is None else f"{figure.ratio:.3g}",
            _shown(figure.target),
        )
    return table


def _parse_figure(name: str, fields: Any) -> Figure:
    expected = set(Figure.__slots__)
    if not isinstance(fields, dict) or set(fields) != expected:
        raise BenchmarkError(f"{name}: expected an object with {', '.join(sorted(expected))}")
    for key in ("unit", "command"):
        if not isinstance(fields[key], str):
            raise BenchmarkError(f"{name}: {key}: expected a string, found {fields[key]!r}")
    for key in ("value", "baseline", "ratio", "target"):
        number = fields[key]
        if number is None and key != "value":
            continue
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise BenchmarkError(f"{name}: {key}: expected a number, found {number!r}")
    return Figure(**fields)


def _rounded(number: float) -> float:
    return round(number, 3)


def _shown(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}" if abs(number) < 10 else f"{number:.1f}"
