"""Rules: what answers are worth, task by task, and which way of prompting a suite is compared with."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from rouge_score.rouge_scorer import RougeScorer

from training.evaluation.intervals import TaskScores, Values
from training.evaluation.records import Answers
from training.evaluation.suites import SuiteTask

SYSTEM, TURNS = "system", "turns"
PROMPTED, STRONGEST = "prompted", "strongest"
"""`prompted`: the better of a system prompt, and of one whose examples are turns; `strongest`: of that and base."""


def score_task(task: SuiteTask, columns: Mapping[str, Answers]) -> TaskScores:
    """Scores of one task, by column as it was asked."""
    return TaskScores(
        task.name,
        {column: score_texts(task, answers.texts) for column, answers in columns.items()},
        {column: score_names(task, answers.texts) for column, answers in columns.items()}
        if task.metric == "call"
        else {},
        {column: statistics.fmean(answers.tokens) for column, answers in columns.items() if answers.tokens},
        {column: statistics.median(answers.seconds[1:]) for column, answers in columns.items() if answers.seconds[1:]},
        {column: answers.seconds[0] for column, answers in columns.items() if answers.seconds},
        task.group,
        bool(task.choices),
    )


def choose_prompted(tasks: Sequence[TaskScores]) -> list[TaskScores]:
    """The same tasks with the columns `prompted` and `strongest`: each the better one over the suite, not by task.

    A task without examples has no turns, and its system prompt stands for both.
    """
    filled = [replace(task, **_copied(task, SYSTEM, TURNS)) if TURNS not in task.score else task for task in tasks]
    filled = _add_better(filled, PROMPTED, (SYSTEM, TURNS))
    return _add_better(filled, STRONGEST, (PROMPTED, "base"))


def score_texts(task: SuiteTask, texts: Sequence[str]) -> Values:
    """What the metric of a task says of the answers to its inputs, (inputs,)."""
    expected = [instance.output for instance in task.instances]
    measure = {"rouge_l": rouge_l, "call": _is_call, "exact": _is_exact}[task.metric]
    return np.array([float(measure(answer, text)) for answer, text in zip(expected, texts, strict=True)])


def score_names(task: SuiteTask, texts: Sequence[str]) -> Values:
    """Whether the right function is called, whatever its arguments, (inputs,)."""
    expected = [parse_call(instance.output) for instance in task.instances]
    return np.array(
        [
            float(bool(wanted and (called := parse_call(text)) and called[0] == wanted[0]))
            for wanted, text in zip(expected, texts, strict=True)
        ]
    )


def parse_call(text: str) -> tuple[str, Any] | None:
    """Name and arguments of a call as JSON; None for any other text."""
    try:
        call = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    return call["name"], call.get("arguments")


def rouge_l(expected: str, answer: str) -> float:
    """F-measure of the longest common subsequence of words, in [0, 1]; equal texts without a word score 1."""
    if _is_exact(expected, answer):
        return 1.0
    return float(RougeScorer(["rougeL"]).score(expected, answer)["rougeL"].fmeasure)


def _is_exact(expected: str, answer: str) -> bool:
    return answer.strip() == expected.strip()


def _is_call(expected: str, answer: str) -> bool:
    called = parse_call(answer)
    return called is not None and called == parse_call(expected)


def _add_better(tasks: Sequence[TaskScores], name: str, ways: Sequence[str]) -> list[TaskScores]:
    """The way that is better over all tasks that have both, once more under a name of its own."""
    both = [task for task in tasks if all(way in task.score for way in ways)]
    if not both:
        return list(tasks)
    best = max(ways, key=lambda way: statistics.fmean(float(task.score[way].mean()) for task in both))
    return [replace(task, **_copied(task, best, name)) for task in tasks]


def _copied(task: TaskScores, way: str, name: str) -> dict[str, Any]:
    """The fields of a task with what one column has under a second name."""
    fields: dict[str, Any] = {}
    for field in ("score", "names", "tokens", "seconds", "first_seconds"):
        values = getattr(task, field)
        fields[field] = {**values, name: values[way]} if way in values else values
    return fields
