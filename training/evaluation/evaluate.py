"""Evaluates a trained pair with its controls: `python -m training evaluate --data DIR`, or `make evaluate`.

Every column is asked on the same inputs, through both services, at the device's default quantization; only oracles are
computed un-merged. Work goes in units, from suite to suite in turn, until all is done or time is up. What was answered
is kept, so that a second call goes on, and adds columns that the first did not ask for.

A unit is a few tasks, each of which is *mismatched* by the next: a group that shares its inputs, or two tasks whose
answers are of one kind.
"""

import itertools
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cloud_service.task import TaskDescription, render_prompt
from loragen.client import ClientError, ModelPair
from loragen.contract.digest import file_sha256
from training.data.corpus import Split
from training.data.families import FAMILIES, Sources, load_mixture
from training.data.gibberish import gibberish
from training.evaluation.oracles import OracleAnswers
from training.evaluation.records import Records
from training.evaluation.results import EvaluationReport, SuiteResult
from training.evaluation.scoring import SYSTEM, TURNS, choose_prompted, score_task
from training.evaluation.services import AVERAGE, BASE, Services, Way
from training.evaluation.suites import SUITES, Suite, SuiteSizes, SuiteTask, load_suites

MINUTES = 25.0
SERVED = (BASE, SYSTEM, AVERAGE, "right", "gibberish")
"""Columns without which a task does not count."""

AVERAGED = 48
"""Training descriptions whose mean gates the control *average* has."""

MOST_GIBBERISH = 500
"""Characters of a random description: encoders make a token of each two of them, and refuse more than they can read."""

SAMPLE = 4
"""Tasks of each suite that the larger model is asked."""

Unit = tuple[SuiteTask, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What to evaluate, and how.

    Attributes:
        minutes: After so long no unit is begun that would not end in time; 0 for no limit. Oracles are not counted.
        oracles: Tasks of each suite that get an oracle.
        larger: The GGUF of a larger model to compare with, or None.
        runs: Where answers and oracles stay.
        settings: Of the device, by the names of its environment variables.
    """

    pair: ModelPair
    data: Path
    split: Split = "test"
    suites: Sequence[str] = SUITES
    minutes: float = MINUTES
    oracles: int = 0
    larger: Path | None = None
    runs: Path = Path("runs/evaluation")
    sizes: SuiteSizes = field(default_factory=SuiteSizes)
    settings: dict[str, str] = field(default_factory=dict)


def evaluate_pair(evaluation: Evaluation) -> tuple[EvaluationReport, ClientError | None]:
    """Everything that was measured by now, and what ended the measuring early, if something did.

    Raises:
        CheckpointError: The pair cannot be loaded.
        FileNotFoundError: The data lack a file.
    """
    suites = load_suites(evaluation.data, evaluation.split, evaluation.sizes, evaluation.suites)
    digest = file_sha256(evaluation.pair.generator / "generator.json")
    records = Records(evaluation.runs / f"{evaluation.split}-{digest[:12]}")
    missing = [
        (suite, unit) for suite, unit in units_in_turn(suites) if _lacks(records, suite, unit, evaluation.larger)
    ]
    failure = None
    if missing:
        try:
            _ask_missing(evaluation, records, missing)
        except ClientError as error:  # what was answered before is not lost for it
            failure = error
    if evaluation.oracles and failure is None:
        _add_oracles(evaluation, records, suites)
    results = [_result(records, suite) for suite in suites]
    about = {
        "pair": f"{evaluation.pair.generator.parent.name} ({digest[:12]})",
        "split": evaluation.split,
        "tasks": f"{sum(len(result.scores) for result in results)} of {sum(len(suite.tasks) for suite in suites)}",
    }
    return EvaluationReport(about, [result for result in results if result.scores]), failure


def units_in_turn(suites: Sequence[Suite]) -> list[tuple[Suite, Unit]]:
    """All units, one of each suite in turn."""
    rounds = itertools.zip_longest(*([(suite, unit) for unit in units_of(suite.tasks)] for suite in suites))
    return [pair for each in rounds for pair in each if pair is not None]


def units_of(tasks: Sequence[SuiteTask]) -> list[Unit]:
    """Groups of tasks, and pairs of those without one, with answers of one kind; what is left over joins the last."""
    units: list[Unit] = []
    waiting: dict[bool, SuiteTask] = {}
    for group, members in _grouped(tasks):
        if group:
            units.append(tuple(members))
            continue
        for task in members:
            if (other := waiting.pop(bool(task.choices), None)) is None:
                waiting[bool(task.choices)] = task
            else:
                units.append((other, task))
    left = tuple(waiting.values())
    if len(left) == 1 and units:
        units[-1] += left
    elif left:
        units.append(left)
    return units


def _grouped(tasks: Sequence[SuiteTask]) -> Iterator[tuple[str, list[SuiteTask]]]:
    for group, members in itertools.groupby(tasks, lambda task: task.group):
        yield group, list(members)


def _lacks(records: Records, suite: Suite, unit: Unit, larger: Path | None) -> bool:
    return any(not set(_wanted(suite, task, larger)) <= records.load(suite.name, task).keys() for task in unit)


def _wanted(suite: Suite, task: SuiteTask, larger: Path | None) -> list[str]:
    """Columns to ask, in this order: those of one model follow each other, and prompts stay in its cache."""
    columns = [BASE, SYSTEM, *([TURNS] if task.description.examples else [])]
    if larger is not None and task in suite.tasks[:SAMPLE]:
        columns.append("larger")
    return [*columns, AVERAGE, "right", *(["mismatched"] if len(suite.tasks) > 1 else []), "gibberish"]


def _ask_missing(evaluation: Evaluation, records: Records, missing: Sequence[tuple[Suite, Unit]]) -> None:
    started = time.monotonic()
    state = evaluation.runs / "services"
    shutil.rmtree(state, ignore_errors=True)
    with Services(evaluation.pair, state, evaluation.larger, evaluation.settings) as services:
        services.specialize_average(training_descriptions(evaluation.data))
        slowest = 0.0
        for number, (suite, unit) in enumerate(missing, 1):
            begun = time.monotonic()
            if evaluation.minutes and begun - started + slowest > 60 * evaluation.minutes:
                print(f"time is up: a second call goes on with the other {len(missing) - number + 1} units", flush=True)
                return
            _ask_unit(services, records, suite, unit, evaluation.larger)
            now = time.monotonic()
            slowest = max(slowest, now - begun)
            left = (now - started) / number * (len(missing) - number) / 60
            print(
                f"{suite.name}: {', '.join(task.name for task in unit)} in {now - begun:.0f} s; "
                f"unit {number} of {len(missing)}, all others would take {left:.0f} minutes",
                flush=True,
            )


def training_descriptions(data: Path) -> list[TaskDescription]:
    """Descriptions as training draws them, of all families alike."""
    mixture = load_mixture(Sources(data), weights=dict.fromkeys(FAMILIES, 1.0))
    rng = random.Random("average")
    return [mixture.draw(rng, "train", 1).task for _ in range(AVERAGED)]


def _ask_unit(services: Services, records: Records, suite: Suite, unit: Unit, larger: Path | None) -> None:
    rng = random.Random(f"gibberish/{suite.name}/{unit[0].name}")
    longest = max(len(render_prompt(task.description)) for task in unit)
    nonsense = gibberish(rng, min(longest, MOST_GIBBERISH))
    nonsensical = services.specialize("gibberish", nonsense)
    made = [
        services.specialize(f"task-{number}", task.description, closed_set(task)) for number, task in enumerate(unit)
    ]
    for number, task in enumerate(unit):
        description, right, mismatched = task.description, made[number], made[(number + 1) % len(unit)]
        system, shots = render_prompt(replace(description, examples=())), description.examples
        ways = {
            BASE: Way(BASE),
            SYSTEM: Way(BASE, render_prompt(description)),
            TURNS: Way(BASE, system, shots),
            # What the specialization keeps of the prompt, a LoRA that reads nothing may have as well.
            AVERAGE: Way(AVERAGE, right.residual_prompt or None if right else None),
            "right": Way(right.id if right else None),
            "mismatched": Way(mismatched.id if mismatched else None),
            "gibberish": Way(nonsensical.id if nonsensical else None),
        }
        columns = records.load(suite.name, task)
        for column in _wanted(suite, task, larger):
            if column not in columns:
                columns[column] = services.ask_larger(task) if column == "larger" else services.ask(task, ways[column])
        records.store(suite.name, task, columns)


def closed_set(task: SuiteTask) -> tuple[str, ...]:
    """The set that all inputs of a task share; empty where there is none."""
    return task.choices[0] if len(set(task.choices)) == 1 else ()


def _add_oracles(evaluation: Evaluation, records: Records, suites: Sequence[Suite]) -> None:
    """For the first tasks of each suite that have practice, as far as they were asked."""
    oracles = OracleAnswers(evaluation.pair, evaluation.runs / "oracles")
    for suite in suites:
        for task in [task for task in suite.tasks if task.practice][: evaluation.oracles]:
            columns = records.load(suite.name, task)
            if columns and "oracle" not in columns:
                records.store(suite.name, task, {**columns, "oracle": oracles.answer(task)})


def _result(records: Records, suite: Suite) -> SuiteResult:
    asked = [(task, records.load(suite.name, task)) for task in suite.tasks]
    done = [(task, columns) for task, columns in asked if set(SERVED) <= columns.keys()]
    scores = choose_prompted([score_task(task, columns) for task, columns in done])
    return SuiteResult(suite, [task for task, _ in done], scores)
