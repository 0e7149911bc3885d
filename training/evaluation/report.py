"""What an evaluation leaves: build/eval.json, a Markdown table and a plot."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from loragen.contract.atomic import write_atomic
from training.evaluation.measure import COLUMNS, Interval, TaskScores, interval, sample_spread, share
from training.evaluation.served import ServedScores

DIFFERENCES = (
    ("right", "base"),
    ("right", "prompted"),
    ("right", "another"),
    ("right", "gibberish"),
    ("prompted", "base"),
)
REASONING_NOTE = (
    "`reasoning` is the paper's metric on its eight sets, where guessing gives {chance:.1f} % on average. A pair of a "
    "few million parameters is near chance there, and differences between its columns are noise."
)
SCORES_NOTE = """All columns are scored on the same inputs. Closed answers and short ones count when the greedy answer
is exactly the expected one, longer ones by ROUGE-L, `reasoning` by the likeliest choice. Intervals are 95 %, by
bootstrap over tasks (over inputs for `reasoning`, over groups of tasks on the same inputs for `conflict`), paired for
differences. The oracle is a LoRA fine-tuned on a task's own training instances, for the first tasks of each suite:
their number is in brackets, its column is their mean.

"""
DIFFERENCES_NOTE = """
## Differences

In percentage points. *Of the oracle's gain* is (right - base) / (oracle - base), in percent, over the tasks that have
an oracle; oracles are few and briefly trained, so 100 is no upper bound. *Chance* is what ignoring the description can
give; *spread* is the standard deviation of right between the descriptions of one task, averaged over tasks.

"""
CHOICE_NOTE = """
## Choice by likelihood

Tasks with closed answers only: the label that is likeliest with its end, which tells every column what the labels are.

"""
SERVED_NOTE = """
## As served

A sample of the tasks through the product: recipe from the cloud service, assembly, merge and quantization on the
device, answers through llama.cpp. One description for each task. *Un-merged* is the column right above, on these tasks
and that description. A prompted answer has its prompt's prefix cached. *Guided*: each request names the
answers possible (`structured_outputs`), as a client with a closed set can, at no cost in tokens; over tasks with one.

"""
SERVED_COLUMNS = ("base", "prompted", "right")
COLORS = {
    "base": "#9a9a9a",
    "prompted": "#4c78a8",
    "oracle": "#2f2f2f",
    "right": "#54a24b",
    "another": "#eeca3b",
    "gibberish": "#e45756",
}


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """Scores of a suite.

    Attributes:
        instances: Inputs times description samples.
        fixed_tasks: As in `training.evaluation.suites.Suite`.
        chance: What ignoring the description can give, where that is known.
        served: Tasks that also ran through the product's path.
    """

    name: str
    tasks: Sequence[TaskScores]
    instances: int
    fixed_tasks: bool = False
    chance: float | None = None
    served: Sequence[ServedScores] = field(default_factory=tuple)

    def interval(self, column: str, minus: str | None = None, choice: bool = False) -> Interval | None:
        """Of the suite's mean; None where no task has the columns."""
        return interval(self.tasks, column, minus, choice, self.fixed_tasks)

    def tokens(self, way: str) -> float:
        """Mean input tokens, `prompted` or `specialized`."""
        return statistics.fmean(task.tokens[way] for task in self.tasks)


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation.

    Attributes:
        about: What was evaluated and how, for people: pair, split, sizes, seconds.
    """

    about: Mapping[str, Any]
    suites: Sequence[SuiteResult]


def document(report: Report) -> dict[str, Any]:
    """What build/eval.json holds: `suites` with the promised figures, `details` with all others, `about`."""
    return {
        "about": dict(report.about),
        "suites": {
            suite.name: {
                "tasks": len(suite.tasks),
                "instances": suite.instances,
                "score": _intervals(suite),
                "tokens": {way: suite.tokens(way) for way in ("prompted", "specialized")},
            }
            for suite in report.suites
        },
        "details": {suite.name: _details(suite) for suite in report.suites},
    }


def write_report(report: Report, out: Path, results: Path) -> str:
    """Writes the JSON to `out`, the table to `results`/evaluation.md and the plot to evaluation.png.

    Returns:
        The Markdown.
    """
    text = markdown(report)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, (json.dumps(document(report), indent=2) + "\n").encode())
    results.mkdir(parents=True, exist_ok=True)
    (results / "evaluation.md").write_text(text)
    plot(report, results / "evaluation.png")
    return text


def markdown(report: Report) -> str:
    """Tables in percent with 95 % intervals."""
    about = "; ".join(f"{name} {value}" for name, value in report.about.items())
    parts = [
        f"# Evaluation\n\nMade by `make evaluate`; do not edit.\n\n{about}.\n\n",
        SCORES_NOTE + _scores_table(report.suites),
        DIFFERENCES_NOTE + _differences_table(report.suites),
    ]
    closed = [suite for suite in report.suites if suite.interval("right", choice=True) and suite.name != "reasoning"]
    if closed:
        rows = [(s.name, *(_percent(s.interval(column, choice=True)) for column in COLUMNS)) for s in closed]
        parts.append(CHOICE_NOTE + _table(("suite", *COLUMNS), rows))
    served = [suite for suite in report.suites if suite.served]
    if served:
        parts.append(SERVED_NOTE + _served_table(served))
    parts += ["\n" + _reasoning(suite) for suite in report.suites if suite.name == "reasoning"]
    return "".join(parts)


def plot(report: Report, path: Path) -> None:
    """A group of bars for each suite, one bar for each column, with intervals."""
    figure = Figure(figsize=(max(6.0, 1.5 * len(report.suites)), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    width = 0.8 / len(COLUMNS)
    for number, column in enumerate(COLUMNS):
        found = [(place, suite.interval(column)) for place, suite in enumerate(report.suites)]
        known = [(place, value) for place, value in found if value is not None]
        axes.bar(
            [place + (number - (len(COLUMNS) - 1) / 2) * width for place, _ in known],
            [100 * value.mean for _, value in known],
            width,
            yerr=[
                [100 * max(0.0, value.mean - value.low) for _, value in known],
                [100 * max(0.0, value.high - value.mean) for _, value in known],
            ],
            error_kw={"elinewidth": 0.7},
            color=COLORS[column],
            label=column,
        )
    axes.set_xticks(range(len(report.suites)), [suite.name for suite in report.suites], rotation=20, ha="right")
    axes.set_ylabel("score, %")
    axes.set_ylim(0, 100)
    axes.legend(ncols=len(COLUMNS), fontsize="small", loc="upper center", bbox_to_anchor=(0.5, 1.12), frameon=False)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def oracle_gain(suite: SuiteResult) -> Interval | None:
    """(right - base) / (oracle - base) over the tasks with an oracle; None where the oracle gains nothing."""
    return share(suite.tasks, "base")


def chance_to_oracle(suite: SuiteResult) -> Interval | None:
    """How far right comes on the way from chance to oracle, over the tasks with an oracle."""
    return None if suite.chance is None else share(suite.tasks, suite.chance)


def _details(suite: SuiteResult) -> dict[str, Any]:
    details: dict[str, Any] = {
        "difference": {
            f"{a} - {b}": asdict(found) for a, b in DIFFERENCES if (found := suite.interval(a, b)) is not None
        },
        "choice": _intervals(suite, choice=True),
        "oracle_tasks": sum("oracle" in task.score for task in suite.tasks),
        "share_of_oracle_gain": _as_dict(oracle_gain(suite)),
        "chance": suite.chance,
        "share_from_chance_to_oracle": _as_dict(chance_to_oracle(suite)),
        "spread_over_descriptions": sample_spread(suite.tasks),
        "by_task": {
            task.name: {column: float(values.mean()) for column, values in task.score.items()} for task in suite.tasks
        },
        "served": [asdict(served) for served in suite.served],
        "seconds": _served_means(suite, "seconds"),
    }
    if suite.name == "reasoning":
        details["harmonic_mean"] = {
            column: asdict(found)
            for column in COLUMNS
            if (found := interval(suite.tasks, column, fixed_tasks=True, harmonic=True)) is not None
        }
    return details


def _intervals(suite: SuiteResult, choice: bool = False) -> dict[str, Any]:
    found = {column: suite.interval(column, choice=choice) for column in COLUMNS}
    return {column: asdict(value) for column, value in found.items() if value is not None}


def _served_means(suite: SuiteResult, figure: str) -> dict[str, float]:
    if not suite.served:
        return {}
    return {
        way: statistics.fmean(getattr(served, figure)[way] for served in suite.served)
        for way in ("prompted", "specialized")
    }


def _scores_table(suites: Sequence[SuiteResult]) -> str:
    head = ("suite", "tasks", "answers", *COLUMNS, "tokens prompted", "tokens specialized")
    rows = []
    for suite in suites:
        trained = sum("oracle" in task.score for task in suite.tasks)
        cells = [_percent(suite.interval(column)) for column in COLUMNS]
        cells[COLUMNS.index("oracle")] += f" [{trained}]"
        tokens = [f"{suite.tokens(way):.0f}" for way in ("prompted", "specialized")]
        rows.append((suite.name, str(len(suite.tasks)), str(suite.instances), *cells, *tokens))
    return _table(head, rows)


def _differences_table(suites: Sequence[SuiteResult]) -> str:
    head = ("suite", *(f"{a} - {b}" for a, b in DIFFERENCES), "of the oracle's gain, %", "chance", "spread")
    rows = []
    for suite in suites:
        gain, spread = oracle_gain(suite), 100 * sample_spread(suite.tasks)
        rows.append(
            (
                suite.name,
                *(_percent(suite.interval(a, b)) for a, b in DIFFERENCES),
                _percent(gain, 0),
                _chance(suite),
                f"{spread:.1f}",
            )
        )
    return _table(head, rows)


def _chance(suite: SuiteResult) -> str:
    if suite.chance is None:
        return ""
    found = chance_to_oracle(suite)
    way = "" if found is None else f"; {_percent(found, 0)} % of the way to the oracle"
    return f"{100 * suite.chance:.1f}{way}"


def _served_table(suites: Sequence[SuiteResult]) -> str:
    head = (
        "suite",
        "tasks",
        *SERVED_COLUMNS,
        "right, un-merged",
        *(f"{column}, guided" for column in SERVED_COLUMNS),
        "ms prompted",
        "ms specialized",
        "retained_delta",
    )
    rows = []
    for suite in suites:
        means = {column: statistics.fmean(served.score[column] for served in suite.served) for column in SERVED_COLUMNS}
        closed = [served.guided for served in suite.served if served.guided]
        named = {served.name for served in suite.served}
        unmerged = [float(task.score["right"][0].mean()) for task in suite.tasks if task.name in named]
        seconds = _served_means(suite, "seconds")
        rows.append(
            (
                suite.name,
                str(len(suite.served)),
                *(f"{100 * means[column]:.1f}" for column in SERVED_COLUMNS),
                f"{100 * statistics.fmean(unmerged):.1f}",
                *(
                    f"{100 * statistics.fmean(guided[column] for guided in closed):.1f}" if closed else ""
                    for column in SERVED_COLUMNS
                ),
                f"{1000 * seconds['prompted']:.0f}",
                f"{1000 * seconds['specialized']:.0f}",
                f"{min(served.retained_delta for served in suite.served):.2f}",
            )
        )
    return _table(head, rows)


def _reasoning(suite: SuiteResult) -> str:
    rows = [
        (
            task.name.removeprefix("reasoning/"),
            *(f"{100 * task.score[column].mean():.1f}" if column in task.score else "" for column in COLUMNS),
        )
        for task in suite.tasks
    ]
    harmonic = [interval(suite.tasks, column, fixed_tasks=True, harmonic=True) for column in COLUMNS]
    rows.append(("mean", *(_percent(suite.interval(column)) for column in COLUMNS)))
    rows.append(("harmonic mean", *(_percent(value) for value in harmonic)))
    note = "" if suite.chance is None else REASONING_NOTE.format(chance=100 * suite.chance) + "\n\n"
    return "## Reasoning\n\n" + note + _table(("set", *COLUMNS), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _percent(value: Interval | None, digits: int = 1) -> str:
    if value is None:
        return ""
    mean, low, high = (f"{100 * part:.{digits}f}" for part in (value.mean, value.low, value.high))
    return f"{mean} ({low} to {high})"


def _as_dict(value: Interval | None) -> dict[str, float] | None:
    return None if value is None else asdict(value)
