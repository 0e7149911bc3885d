"""The tables of an evaluation, as Markdown: in percent, with 95 % intervals."""

from collections.abc import Sequence

from training.evaluation.intervals import Interval
from training.evaluation.results import COLUMNS, DIFFERENCES, EvaluationReport, SuiteResult
from training.evaluation.scoring import PROMPTED, SYSTEM
from training.evaluation.targets import Target, targets

SCORES_NOTE = """## Scores

All columns are asked on the same inputs, through both services, at the device's default quantization. Each request of a
task with a closed set names the set, in every column. Closed and short answers count when they are exactly the expected
ones, longer ones by ROUGE-L, calls when name and all arguments are right. Intervals are 95 %, by bootstrap over tasks
(over inputs for `reasoning`, over groups of tasks on the same inputs for `conflict`), paired for differences.

*base*: the edge model alone. *prompted*: with the description, the better of a system prompt and of one whose examples
are turns (over a suite, not by task). *larger*: another model, with the description and its examples in plain lines.
*average*: the LoRA of the mean gates over training descriptions, which reads nothing; closed sets by their texts.
*right*: the specialization. *mismatched*: that of another task. *gibberish*: that of random letters. *oracle*: a LoRA
of rank 16 trained on the task's own data, un-merged. In brackets: the number of tasks, where it is not all of them.

"""
DIFFERENCES_NOTE = """
## Differences

In percentage points, over the tasks that have both. *Chance* is what ignoring the description can give, where that is
known.

"""
COST_NOTE = """
## Tokens and time

Tokens of a prompt, and milliseconds of a whole answer by the client's clock: *not cached* is the first answer of a
task, *cached* the median of the others, whose prompt begins alike. Medians over tasks; a specialization has no prompt
to cache.

"""
TARGETS_NOTE = """## Targets

"""


def markdown(report: EvaluationReport) -> str:
    """The whole document."""
    about = "; ".join(f"{name} {value}" for name, value in report.about.items())
    parts = [
        f"# Evaluation\n\nMade by `make evaluate`; do not edit.\n\n{about}.\n\n",
        TARGETS_NOTE + _table(("suite", "what", "target", "value", ""), [_target(t) for t in targets(report.suites)]),
        "\n" + SCORES_NOTE + _scores_table(report.suites),
        *("\n" + _names(result) for result in report.suites if result.interval("right", names=True)),
        DIFFERENCES_NOTE + _differences_table(report.suites),
        COST_NOTE + _cost_table(report.suites),
    ]
    return "".join(parts)


def _target(target: Target) -> tuple[str, ...]:
    def shown(value: float) -> str:
        return f"{value:.1f}x" if target.unit == "x" else f"{100 * value:.1f} {target.unit}"

    value = ""
    if target.value is not None:
        value = shown(target.value.mean)
        if target.value.low < target.value.high:
            value += f" ({100 * target.value.low:.1f} to {100 * target.value.high:.1f})"
    bound = "above 0" if target.significant else f"at least {shown(target.bound)}"
    return target.suite, target.what, bound, value, target.outcome


def _scores_table(results: Sequence[SuiteResult]) -> str:
    rows = []
    for result in results:
        cells = [_percent(result.interval(column)) for column in COLUMNS]
        for number, column in enumerate(COLUMNS):
            if 0 < (count := result.count(column)) < len(result.scores):
                cells[number] += f" [{count}]"
        rows.append((result.suite.name, str(len(result.scores)), str(result.inputs), *cells))
    return _table(("suite", "tasks", "inputs", *COLUMNS), rows)


def _names(result: SuiteResult) -> str:
    shown = (f"{column} {_percent(result.interval(column, names=True))}" for column in COLUMNS)
    return f"`{result.suite.name}`, the name alone right: {', '.join(each for each in shown if each.endswith(')'))}.\n"


def _differences_table(results: Sequence[SuiteResult]) -> str:
    head = ("suite", *(f"{a} - {b}" for a, b in DIFFERENCES), "chance", "of the oracle's gain, %")
    rows = [
        (
            result.suite.name,
            *(_percent(result.interval(a, b)) for a, b in DIFFERENCES),
            "" if result.chance is None else f"{100 * result.chance:.1f}",
            _percent(result.oracle_gain(), 0),
        )
        for result in results
    ]
    return _table(head, rows)


def _cost_table(results: Sequence[SuiteResult]) -> str:
    head = ("suite", "tokens prompted", "tokens right", "ms prompted, not cached", "ms prompted, cached", "ms right")
    rows = []
    for result in results:
        tokens = (result.tokens(column) for column in (SYSTEM, "right"))
        times = (result.seconds(PROMPTED, first=True), result.seconds(PROMPTED), result.seconds("right"))
        milliseconds = (None if each is None else 1000 * each for each in times)
        rows.append((result.suite.name, *("" if n is None else f"{n:.0f}" for n in (*tokens, *milliseconds))))
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _percent(value: Interval | None, digits: int = 1) -> str:
    if value is None:
        return ""
    mean, low, high = (f"{100 * part:.{digits}f}" for part in (value.mean, value.low, value.high))
    return f"{mean} ({low} to {high})"
