"""The tables of an evaluation, as Markdown: in percent, with 95 % intervals."""

import statistics
from collections.abc import Sequence

from training.evaluation.intervals import COLUMNS, Interval, sample_spread
from training.evaluation.report import DIFFERENCES, WAYS, EvaluationReport, SuiteResult

LIKELIHOOD_NOTE = (
    "`{name}` is the paper's metric on its eight sets, where guessing gives {chance:.1f} % on average. A pair of a "
    "few million parameters is near chance there, and differences between its columns are noise."
)
SCORES_NOTE = """All columns are scored on the same inputs. Closed answers and short ones count when the greedy answer
is exactly the expected one, longer ones by ROUGE-L, `reasoning` by the likeliest choice. *Mismatched* is under the
description of another task. Intervals are 95 %, by bootstrap over tasks (over inputs for `reasoning`, over groups of
tasks on the same inputs for `conflict`), paired for differences. The oracle is a LoRA fine-tuned on a task's own
training instances, for the first tasks of each suite: their number is in brackets, its column is their mean.

"""
DIFFERENCES_NOTE = """
## Differences

In percentage points. *Of the oracle's gain* is (right - base) / (oracle - base), in percent, over the tasks that have
an oracle; oracles are few and briefly trained, so 100 is no upper bound. *Chance* is what ignoring the description can
give; *spread* is the standard deviation of right between the descriptions of one task, averaged over tasks.

"""
CHOICE_NOTE = """
## Choice by likelihood

Tasks with closed answers only: the label that is likeliest with its end. So every column knows what the labels are.

"""
SERVED_NOTE = """
## As served

A sample of the tasks through the product: recipe from the cloud service, assembly, merge and quantization on the
device, answers through llama.cpp. One description for each task. *Un-merged* is the column right above, on these tasks
and that description. A prompted answer has its prompt's prefix cached. *Guided*: each request names the
answers possible (`structured_outputs`), as a client with a closed set can, at no cost in tokens; over tasks with one.

"""
SERVED_COLUMNS = ("base", "prompted", "right")


def markdown(report: EvaluationReport) -> str:
    """The whole document."""
    about = "; ".join(f"{name} {value}" for name, value in report.about.items())
    parts = [
        f"# Evaluation\n\nMade by `make evaluate`; do not edit.\n\n{about}.\n\n",
        SCORES_NOTE + _scores_table(report.suites),
        DIFFERENCES_NOTE + _differences_table(report.suites),
    ]
    closed = [r for r in report.suites if r.interval("right", choice=True) and not r.suite.by_likelihood]
    if closed:
        rows = [(r.suite.name, *(_percent(r.interval(column, choice=True)) for column in COLUMNS)) for r in closed]
        parts.append(CHOICE_NOTE + _table(("suite", *COLUMNS), rows))
    served = [result for result in report.suites if result.served]
    if served:
        parts.append(SERVED_NOTE + _served_table(served))
    parts += ["\n" + _by_likelihood(result) for result in report.suites if result.suite.by_likelihood]
    return "".join(parts)


def _scores_table(results: Sequence[SuiteResult]) -> str:
    head = ("suite", "tasks", "answers", *COLUMNS, "tokens prompted", "tokens specialized")
    rows = []
    for result in results:
        cells = [_percent(result.interval(column)) for column in COLUMNS]
        cells[COLUMNS.index("oracle")] += f" [{result.oracles}]"
        tokens = (f"{result.tokens(way):.0f}" for way in WAYS)
        rows.append((result.suite.name, str(len(result.scores)), str(result.instances), *cells, *tokens))
    return _table(head, rows)


def _differences_table(results: Sequence[SuiteResult]) -> str:
    head = ("suite", *(f"{a} - {b}" for a, b in DIFFERENCES), "of the oracle's gain, %", "chance", "spread")
    rows = [
        (
            result.suite.name,
            *(_percent(result.interval(a, b)) for a, b in DIFFERENCES),
            _percent(result.oracle_gain(), 0),
            _chance(result),
            f"{100 * sample_spread(result.scores):.1f}",
        )
        for result in results
    ]
    return _table(head, rows)


def _chance(result: SuiteResult) -> str:
    if result.suite.chance is None:
        return ""
    found = result.chance_to_oracle()
    way = "" if found is None else f"; {_percent(found, 0)} % of the way to the oracle"
    return f"{100 * result.suite.chance:.1f}{way}"


def _served_table(results: Sequence[SuiteResult]) -> str:
    guided = (f"{column}, guided" for column in SERVED_COLUMNS)
    times = ("ms prompted", "ms specialized")
    head = ("suite", "tasks", *SERVED_COLUMNS, "right, un-merged", *guided, *times, "retained delta")
    rows = []
    for result in results:
        closed = [served.guided for served in result.served if served.guided]
        named = {served.name for served in result.served}
        unmerged = [float(task.score["right"][0].mean()) for task in result.scores if task.name in named]
        rows.append(
            (
                result.suite.name,
                str(len(result.served)),
                *(_mean([served.score[column] for served in result.served]) for column in SERVED_COLUMNS),
                _mean(unmerged),
                *(_mean([guided[column] for guided in closed]) for column in SERVED_COLUMNS),
                *(f"{1000 * seconds:.0f}" for seconds in result.served_seconds().values()),
                f"{min(served.retained_delta for served in result.served):.2f}",
            )
        )
    return _table(head, rows)


def _by_likelihood(result: SuiteResult) -> str:
    name = result.suite.name
    rows = [
        (
            task.name.removeprefix(f"{name}/"),
            *(f"{100 * task.score[column].mean():.1f}" if column in task.score else "" for column in COLUMNS),
        )
        for task in result.scores
    ]
    rows.append(("mean", *(_percent(result.interval(column)) for column in COLUMNS)))
    rows.append(("harmonic mean", *(_percent(result.harmonic_mean(column)) for column in COLUMNS)))
    chance = result.suite.chance
    note = "" if chance is None else LIKELIHOOD_NOTE.format(name=name, chance=100 * chance) + "\n\n"
    return f"## {name.capitalize()}\n\n" + note + _table(("set", *COLUMNS), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _mean(values: Sequence[float]) -> str:
    return f"{100 * statistics.fmean(values):.1f}" if values else ""


def _percent(value: Interval | None, digits: int = 1) -> str:
    if value is None:
        return ""
    mean, low, high = (f"{100 * part:.{digits}f}" for part in (value.mean, value.low, value.high))
    return f"{mean} ({low} to {high})"
