"""Scores of a pair on suite tasks with its controls on the same inputs, un-merged and in one process.

Quick enough to choose settings on validation tasks. The numbers of the product, merged and quantized as served, come
from `training.evaluation.served`.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer
from transformers import PreTrainedTokenizerBase

from cloud_service.generator import LoraGenerator
from cloud_service.generator.edge import Factors
from cloud_service.generator.prompt_encoder import encode_prompts, pad_right
from cloud_service.task import TaskDescription, render_prompt
from training.data.gibberish import gibberish
from training.evaluation.answering import Answers, EdgeModel
from training.evaluation.suites import SuiteTask
from training.fit.oracle import TaskFactors

COLUMNS = ("base", "prompted", "oracle", "right", "another", "gibberish")
RESAMPLES = 2000
MORE_ANSWER_TOKENS = 4
MOST_ANSWER_TOKENS = 64

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TaskScores:
    """One task's scores, in [0, 1].

    Attributes:
        name: The task.
        score: By column, (samples, inputs): what the task's metric says; one row for base and oracle.
        choice: The same for the choice by likelihood, where the answers are a closed set, else empty.
        tokens: Mean input tokens of the edge model, by `prompted` and `specialized`.
        group: As in `SuiteTask`.
    """

    name: str
    score: Mapping[str, Values]
    choice: Mapping[str, Values]
    tokens: Mapping[str, float]
    group: str = ""


def interval(
    tasks: Sequence[TaskScores],
    column: str,
    minus: str | None = None,
    choice: bool = False,
    fixed_tasks: bool = False,
    harmonic: bool = False,
) -> Interval | None:
    """Mean over tasks of a column, or of its paired difference to another, over the tasks that have both.

    Resampled are tasks, whose inputs share descriptions, and groups of tasks as a whole, which share inputs; the inputs
    within each task when the tasks are all there are.

    Args:
        tasks: Scores of a suite.
        column: One of `COLUMNS`.
        minus: The column to subtract.
        choice: Of the choice by likelihood in the place of the metric.
        fixed_tasks: Resample inputs, not tasks.
        harmonic: The harmonic mean over tasks, for `fixed_tasks` alone.

    Returns:
        None when no task has the columns.
    """
    found: list[Values] = []
    groups: list[str] = []
    for task in tasks:
        values = task.choice if choice else task.score
        if column in values and (minus is None or minus in values):
            groups.append(task.group or task.name)
            means = values[column].mean(0)  # (inputs,)
            found.append(means - values[minus].mean(0) if minus else means)
    if not found:
        return None
    every = np.array([v.mean() for v in found])
    if not fixed_tasks:
        return _ratio(every, np.ones(len(every)), groups)
    rng = np.random.default_rng(0)
    means = np.stack([v[rng.integers(len(v), size=(RESAMPLES, len(v)))].mean(1) for v in found], 1)
    over = _harmonic_mean if harmonic else _mean
    low, high = np.quantile(over(means), (0.025, 0.975))  # of (resamples, tasks)
    return Interval(float(over(every[None])[0]), float(low), float(high))


def share(tasks: Sequence[TaskScores], start: float | str) -> Interval | None:
    """How far right comes on the way from `start` to the oracle, over the tasks with an oracle; resampled as a mean is.

    Args:
        tasks: Scores of a suite.
        start: A column, or one score for all tasks.

    Returns:
        None when the oracle is no better than the start.
    """
    trained = [task for task in tasks if "oracle" in task.score]
    starts = np.array([task.score[start].mean() if isinstance(start, str) else start for task in trained])
    right, oracle = (np.array([t.score[column].mean() for t in trained]) for column in ("right", "oracle"))
    if not trained or (oracle - starts).sum() <= 0:
        return None
    return _ratio(right - starts, oracle - starts, [task.group or task.name for task in trained])


def sample_spread(tasks: Sequence[TaskScores], column: str = "right") -> float:
    """Standard deviation between the description samples of a task, averaged over tasks."""
    spreads = [float(task.score[column].mean(1).std()) for task in tasks if column in task.score]
    return sum(spreads) / len(spreads) if spreads else 0.0


class Measurement:
    """Scores tasks of one pair."""

    def __init__(self, generator: LoraGenerator, tokenizer: PreTrainedTokenizerBase, edge: EdgeModel) -> None:
        self._generator, self._tokenizer, self._edge = generator, tokenizer, edge
        self._limit = generator.config.max_prompt_tokens

    def factors(self, descriptions: Sequence[TaskDescription]) -> Factors:
        """LoRA factors of each description; one too long for the cloud model loses its end."""
        prompts = [render_prompt(description) for description in descriptions]
        encoded = [ids[: self._limit] for ids in encode_prompts(self._tokenizer, prompts)]
        device = self._generator.prompt_encoder.meta.device
        with torch.inference_mode():
            ids, lengths = pad_right(encoded)
            gates = self._generator(ids.to(device), lengths.to(device))
            factors: Factors = self._generator.bank(gates)
        return factors

    def score(self, task: SuiteTask, another: SuiteTask, oracle: TaskFactors | None) -> TaskScores:
        """Every column on the same inputs; the oracle's only where there is one.

        Args:
            task: What is asked.
            another: The task whose descriptions are *another's*, of the same suite.
            oracle: Factors trained on the task.
        """
        longest = self._longest_answer(task)
        rng = random.Random(f"gibberish/{task.name}")
        samples = len(task.samples)
        others = [another.samples[number % len(another.samples)] for number in range(samples)]
        nonsense = [gibberish(rng, len(render_prompt(sample))) for sample in task.samples]
        inputs = [instance.input for instance in task.instances]

        def answer(factors: Factors | None, rows: int, system: str | None = None) -> Answers:
            systems = [system] * (rows * len(inputs))
            return self._edge.answer(inputs * rows, systems, factors, longest, task.choices * rows)

        base = answer(None, 1)
        # One description at a time: a batch of long prompts with all their choices takes too much memory.
        prompted = [answer(None, 1, render_prompt(sample)) for sample in task.samples]
        answers = {
            "base": [base],
            "prompted": prompted,
            "right": [answer(self.factors(task.samples), samples)],
            "another": [answer(self.factors(others), samples)],
            "gibberish": [answer(self.factors(nonsense), samples)],
        }
        if oracle is not None:
            answers["oracle"] = [answer(oracle, 1)]
        return TaskScores(
            task.name,
            {column: self._rows(task, found) for column, found in answers.items()},
            {column: choice_scores(task, found) for column, found in answers.items()} if task.choices else {},
            {
                "prompted": float(np.mean([count for found in prompted for count in found.tokens])),
                "specialized": float(np.mean(base.tokens)),
            },
            task.group,
        )

    def _rows(self, task: SuiteTask, found: Sequence[Answers]) -> Values:
        if task.metric == "choice":
            return choice_scores(task, found)
        texts = [text for answers in found for text in answers.texts]
        return np.array(score_texts(task, texts)).reshape(-1, len(task.instances))

    def _longest_answer(self, task: SuiteTask) -> int:
        if task.metric == "choice":
            return 0
        longest = max(len(self._edge.turns.answer(instance.output)) for instance in task.instances)
        return min(longest + MORE_ANSWER_TOKENS, MOST_ANSWER_TOKENS)


def score_texts(task: SuiteTask, texts: Sequence[str]) -> list[float]:
    """What the metric of a task says of answers, the instances in turn as often as needed."""
    expected = [task.instances[row % len(task.instances)].output for row in range(len(texts))]
    if task.metric == "rouge_l":
        return [rouge_l(answer, text) for answer, text in zip(expected, texts, strict=True)]
    return [float(text.strip() == answer.strip()) for answer, text in zip(expected, texts, strict=True)]


def choice_scores(task: SuiteTask, found: Sequence[Answers]) -> Values:
    """Whether the likeliest choice is the right one, (samples, inputs); for long choices, the likeliest by byte."""
    count = len(task.instances)
    chosen = [n for a in found for n in (a.chosen_by_byte if task.metric == "choice" else a.chosen)]
    right = [
        float(task.choices[row % count][number] == task.instances[row % count].output)
        for row, number in enumerate(chosen)
    ]
    return np.array(right).reshape(-1, count)


def rouge_l(expected: str, answer: str) -> float:
    """F-measure of the longest common subsequence of words, in [0, 1]; equal texts without a word score 1."""
    if expected.strip() == answer.strip():
        return 1.0
    return float(RougeScorer(["rougeL"]).score(expected, answer)["rougeL"].fmeasure)


def pick_another(tasks: Sequence[SuiteTask], index: int) -> SuiteTask:
    """The next task: of the same group, where the task has one; else of another name."""
    task = tasks[index]
    later = [*tasks[index + 1 :], *tasks[:index]]
    same = [other for other in later if task.group and other.group == task.group]
    return next(iter([*same, *(other for other in later if other.name != task.name), task]))


def _ratio(above: Values, below: Values, groups: Sequence[str]) -> Interval:
    """Sum of `above` over sum of `below`, both (tasks,), with groups of tasks resampled."""
    _, group = np.unique(groups, return_inverse=True)
    sums = [np.bincount(group, weights=values) for values in (above, below)]
    drawn = np.random.default_rng(0).integers(len(sums[0]), size=(RESAMPLES, len(sums[0])))
    top, bottom = (values[drawn].sum(1) for values in sums)
    low, high = np.quantile(top[bottom > 0] / bottom[bottom > 0], (0.025, 0.975))
    return Interval(float(above.sum() / below.sum()), float(low), float(high))


def _mean(values: Values) -> Values:
    means: Values = values.mean(-1)
    return means


def _harmonic_mean(values: Values) -> Values:
    means: Values = values.shape[-1] / (1 / np.maximum(values, 1e-9)).sum(-1)
    return means
