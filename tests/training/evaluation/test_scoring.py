"""Metrics on made cases, and the choice of the way of prompting."""

import numpy as np
import pytest

from cloud_service.task import TaskDescription
from training.data.episodes import Instance
from training.evaluation.intervals import TaskScores
from training.evaluation.records import Answers
from training.evaluation.scoring import choose_prompted, parse_call, rouge_l, score_task, score_texts
from training.evaluation.suites import SuiteTask
from training.evaluation.suites.tasks import Metric


def task(metric: Metric = "exact", *outputs: str) -> SuiteTask:
    instances = tuple(Instance(str(number), output) for number, output in enumerate(outputs))
    return SuiteTask("one", TaskDescription("Do it."), instances, (), metric=metric)


def test_rouge_l_counts_the_longest_common_subsequence() -> None:
    # "the cat mat" of 4 and of 5 words: precision 3/4, recall 3/5.
    assert rouge_l("the cat on the mat", "the cat a mat") == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert rouge_l("the cat", "the cat") == 1.0
    assert rouge_l("the cat", "dogs") == 0.0
    assert rouge_l("!", "!") == 1.0


def test_texts_are_scored_by_the_metric_of_their_task() -> None:
    assert score_texts(task("exact", "a b", "c", "a", "c"), ["a b", " c ", "b", "C"]).tolist() == [1, 1, 0, 0]
    assert score_texts(task("rouge_l", "a b", "c"), ["a", "c"]).tolist() == [pytest.approx(2 / 3), 1.0]


def test_call_is_right_with_its_name_and_all_its_arguments_in_any_order() -> None:
    expected = '{"name": "book", "arguments": {"city": "Rome", "day": "Monday"}}'
    answers = {
        '{"arguments":{"day":"Monday","city":"Rome"},"name":"book"}': (1, 1),
        '{"name": "book", "arguments": {"city": "Rome"}}': (0, 1),
        '{"name": "find", "arguments": {"city": "Rome", "day": "Monday"}}': (0, 0),
        "book": (0, 0),
        "[1]": (0, 0),
        "[" * 5000: (0, 0),
        "": (0, 0),
    }
    asked = task("call", *[expected] * len(answers))
    found = score_task(asked, {"right": Answers(tuple(answers), (), ())})
    whole, names = found.score["right"].tolist(), found.names["right"].tolist()
    assert list(zip(whole, names, strict=True)) == list(answers.values())
    assert parse_call('{"name": 1}') is None


def test_costs_tell_the_first_answer_from_the_others() -> None:
    found = score_task(task("exact", "a", "b", "c"), {"right": Answers(("a",) * 3, (0.9, 0.2, 0.4), (10, 20, 30))})
    assert found.tokens["right"] == 20
    assert found.first_seconds["right"] == 0.9
    assert found.seconds["right"] == pytest.approx(0.3)


def test_what_was_refused_costs_nothing_and_is_wrong() -> None:
    found = score_task(task("exact", "a"), {"right": Answers(("",), (), ())})
    assert found.score["right"].tolist() == [0]
    assert found.tokens == found.seconds == found.first_seconds == {}


def test_prompted_is_the_better_way_over_the_suite() -> None:
    """Turns win on the second task, and lose over both; the third has no examples, and so no turns."""
    columns = (
        {"base": 0.0, "system": 0.9, "turns": 0.0},
        {"base": 0.0, "system": 0.3, "turns": 0.6},
        {"base": 0.6, "system": 0.5},
    )
    tasks = [
        TaskScores(str(number), {column: np.array([value]) for column, value in scores.items()})
        for number, scores in enumerate(columns)
    ]
    found = choose_prompted(tasks)
    assert [each.score["prompted"].item() for each in found] == [0.9, 0.3, 0.5]
    assert [each.score["strongest"].item() for each in found] == [0.9, 0.3, 0.5]
    assert choose_prompted([]) == []
