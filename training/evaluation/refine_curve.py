"""Measures refinement: the score on inputs that nothing was tuned on, by the number of labelled examples and of steps.

For each task of a suite, a generation is refined on its first examples, as the service does it, and answers the task's
inputs; beside it stand the one-pass generation of the same request, the edge model with the examples in its prompt, and
an oracle, trained on all instances that the task has to practise on.
What was measured is kept line by line, so that a second call adds what is missing.
"""

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from cloud_service.answer.choices import chosen_option
from cloud_service.answer.contract import find_answer
from cloud_service.generation import Asked
from cloud_service.generator import load_generator
from cloud_service.generator.edge import lora_factors
from cloud_service.generator.pretrained import load_language_model, load_tokenizer
from cloud_service.generator.probe import TorchProbe
from cloud_service.generator.tuner import TorchTuner
from cloud_service.limits import MIN_REFINE_EXAMPLES
from cloud_service.refinement import RefinePlan, ignore_progress, shown_examples
from cloud_service.task import Example, TaskDescription, render_prompt
from loragen.client import ModelPair
from loragen.contract.assembly import assemble
from loragen.contract.recipe import Recipe
from training.data.corpus import Split
from training.evaluation.edge_writer import EdgeWriter
from training.evaluation.oracles import OracleAnswers
from training.evaluation.scoring import score_texts
from training.evaluation.suites import SuiteTask, load_suites
from training.evaluation.suites.tasks import SuiteSizes

LONGEST_PROMPT = 2_000
"""Tokens of the edge model; more examples than fit are not prompted."""

LONGEST_ANSWER = 48


@dataclass(frozen=True, slots=True)
class Curve:
    """What is measured.

    Attributes:
        data: Folder of packed public data.
        suites: Names of suites.
        sizes: Tasks of a suite, and inputs of a task.
        counts: Numbers of examples; a task that has fewer is left out.
        steps: Steps for open tasks; closed sets are solved once for a number of examples.
        prompted: Largest number of examples that are put into a prompt, too.
        runs: Where results stay.
        minutes: No new measurement begins later.
        split: Which tasks and inputs.
        oracles: Whether each task gets an oracle, which takes minutes.
    """

    pair: ModelPair
    data: Path
    suites: Sequence[str]
    sizes: SuiteSizes
    counts: Sequence[int]
    steps: Sequence[int]
    prompted: int
    runs: Path
    minutes: float
    split: Split
    oracles: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """One task under one number of examples.

    Attributes:
        kind: `keys`, a closed set, or `gates`, an open task.
        steps: Most steps; 0 for a closed set.
        inputs: How many are scored.
        one_pass, refined: Mean score by the task's metric, in [0, 1]: the share that is right, or ROUGE-L.
        prompted: Likewise, by the edge model with the examples in its prompt; None where that was not asked.
        oracle: Likewise, by the task's oracle; None without one.
        seconds: The refinement took.
        taken: Steps taken.
    """

    suite: str
    task: str
    kind: str
    count: int
    steps: int
    inputs: int
    one_pass: float
    refined: float
    prompted: float | None
    oracle: float | None
    kept: bool
    seconds: float
    taken: int


def measure_curve(curve: Curve) -> list[Measured]:
    """Everything that was measured by now, this call's part included."""
    path = curve.runs / f"{curve.split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines() if path.exists() else []
    found = [Measured(**json.loads(line)) for line in lines]
    known = {(each.suite, each.task, each.count, each.steps) for each in found}
    bench, deadline = _Bench(curve), time.monotonic() + 60 * curve.minutes
    suites = load_suites(curve.data, curve.split, curve.sizes, curve.suites)
    wanted = [(suite.name, task, count) for count in sorted(curve.counts) for suite in suites for task in suite.tasks]
    for suite, task, count in wanted:
        if count > len(task.practice) or count < MIN_REFINE_EXAMPLES:
            continue
        for steps in curve.steps if not task.choices else (0,):
            if time.monotonic() > deadline:
                return found
            if (suite, task.name, count, steps) not in known:
                found.append(bench.measure(suite, task, count, steps, count <= curve.prompted))
                with path.open("a") as file:
                    file.write(json.dumps(asdict(found[-1])) + "\n")
                print(found[-1], flush=True)
    return found


class _Bench:
    """A pair in memory: its generator, and one edge model that is scored and tuned."""

    def __init__(self, curve: Curve) -> None:
        pair = curve.pair
        self._generator = load_generator(pair.generator, pair.cloud_model, pair.edge_model)
        edge = Path(pair.edge_model)
        model, tokenizer = load_language_model(edge, torch.float32), load_tokenizer(edge)
        self._probe, self._writer = TorchProbe(model, tokenizer), EdgeWriter(model, tokenizer, LONGEST_PROMPT)
        self._tuner = TorchTuner(model, tokenizer, self._generator.bank)
        self._oracles = OracleAnswers(pair, curve.runs / "oracles") if curve.oracles else None

    def measure(self, suite: str, task: SuiteTask, count: int, steps: int, prompted: bool) -> Measured:
        """One task, refined on its first examples."""
        examples = tuple(Example(each.input, each.output) for each in task.practice[:count])
        whole = replace(task.description, examples=examples)
        shown = shown_examples(examples)
        asked = Asked.of(replace(whole, examples=examples[:shown], answer=find_answer(whole)))
        (generation,) = self._generator.generate([asked])
        recipe = generation.recipe(self._generator.info, self._generator.bank.digest)
        plan = RefinePlan(steps or 1, 900.0)
        refined, report = self._tuner.refine(recipe, examples, shown, plan, ignore_progress)
        return Measured(
            suite,
            task.name,
            report.tuned,
            count,
            steps,
            len(task.instances),
            self._score(task, recipe),
            self._score(task, refined),
            self._prompted(task, whole) if prompted else None,
            _mean_score(task, self._oracles.answer(task).texts) if self._oracles else None,
            report.kept,
            round(report.seconds, 1),
            report.steps,
        )

    def _score(self, task: SuiteTask, recipe: Recipe) -> float:
        lora = assemble(self._generator.bank, recipe.gates, recipe.keys)
        if recipe.keys is None:
            inputs = [instance.input for instance in task.instances]
            kept = [recipe.residual_prompt or None] * len(inputs)
            return _mean_score(task, self._writer.answer(inputs, kept, lora_factors(lora), LONGEST_ANSWER).texts)
        options = recipe.answer.options
        examples = [Example(each.input, each.output) for each in task.instances]
        chosen = [chosen_option(each.output, options) for each in examples]
        examples = [replace(e, output=options[c]) for e, c in zip(examples, chosen, strict=True) if c is not None]
        return self._probe.score(examples, lora, recipe.answer, recipe.residual_prompt).exact_match

    def _prompted(self, task: SuiteTask, description: TaskDescription) -> float | None:
        prompt = render_prompt(description)
        if self._generator.count_edge_tokens(prompt) > LONGEST_PROMPT - 2 * LONGEST_ANSWER:
            return None
        inputs = [instance.input for instance in task.instances]
        longest = 0 if task.choices else LONGEST_ANSWER
        answers = self._writer.answer(inputs, [prompt] * len(inputs), None, longest, task.choices)
        found = answers.texts
        if task.choices:
            found = tuple(offered[place] for offered, place in zip(task.choices, answers.chosen, strict=True))
        return _mean_score(task, found)


def _mean_score(task: SuiteTask, texts: Sequence[str]) -> float:
    return float(score_texts(task, texts).mean())


def curve_table(measured: Sequence[Measured]) -> str:
    """Means over tasks, as markdown."""
    return "\n".join(_rows(measured)) + "\n"


def _rows(measured: Sequence[Measured]) -> Iterator[str]:
    yield (
        "| suite | tuned | examples | most steps | tasks | inputs | prompted | one pass | refined | oracle | kept "
        "| seconds |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    groups: dict[tuple[str, str, int, int], list[Measured]] = defaultdict(list)
    for each in measured:
        groups[each.suite, each.kind, each.count, each.steps].append(each)
    for (suite, kind, count, steps), group in sorted(groups.items()):
        prompted, oracle = (_mean([getattr(each, name) for each in group]) for name in ("prompted", "oracle"))
        one_pass, refined = (
            statistics.fmean(getattr(each, name) for each in group) for name in ("one_pass", "refined")
        )
        yield (
            f"| {suite} | {kind} | {count} | {steps or ''} | {len(group)} | {sum(each.inputs for each in group)} "
            f"| {prompted} | {one_pass:.1%} | {refined:.1%} | {oracle} | {sum(each.kept for each in group)} "
            f"| {statistics.fmean(each.seconds for each in group):.0f} |"
        )


def _mean(shares: Sequence[float | None]) -> str:
    known = [share for share in shares if share is not None]
    return f"{statistics.fmean(known):.1%}" if len(known) == len(shares) else ""
