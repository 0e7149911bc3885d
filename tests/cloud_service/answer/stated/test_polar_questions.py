"""Which sentences ask for yes or no."""

import pytest

from cloud_service.answer.contract import find_answer
from cloud_service.answer.stated.polar_questions import polar_sets
from cloud_service.answer.stated.task_sentences import requests_of
from cloud_service.task import Example, TaskDescription


def _answers(text: str) -> list[tuple[str, ...]]:
    return [answers for request in requests_of(text) for answers in polar_sets(request)]


def test_usual_answers_come_first() -> None:
    assert _answers("Is the customer angry?")[0] == ("yes", "no")
    assert _answers("Is there a name in the text?")[0] == _answers("Is there a name missing?")[0] == ("yes", "no")
    assert ("True", "False") in _answers("Check whether the text contains a date.")


@pytest.mark.parametrize(
    "text",
    [
        "Can you rewrite this?",
        "Could you please translate the text?",
        "Would you summarize it?",
        "Will you extract the names?",
        "Can we make this shorter?",
        "Could the text be made shorter?",
        "Is there a better word?",
        "Is there a word that describes this?",
        "Are there any names for this?",
        "Is there an expression for this?",
        "Is there one phrase for this?",
        "Is anyone able to shorten this?",
        "Has anyone a shorter version of this?",
        "Does anybody know a shorter version?",
        "Does it mention cats or dogs?",
        "Is the customer angry? The shop sells shoes.",
        "Does the mail say when the shop opens?",
        "Check whether it rhymes and mend it.",
        "Do the sum",
        "Tell me if anything is wrong.",
    ],
)
def test_requests_choices_and_other_questions_have_none(text: str) -> None:
    assert _answers(text) == []


@pytest.mark.parametrize(
    ("outputs", "choices"),
    [
        (("yes",), ("yes", "no")),
        (("No",), ("Yes", "No")),
        (("true", "false"), ("true", "false")),
        (("yes", "maybe"), ()),
        (("He is.",), ()),
    ],
)
def test_examples_decide_for_the_form(outputs: tuple[str, ...], choices: tuple[str, ...]) -> None:
    examples = tuple(Example(f"input {number}", output) for number, output in enumerate(outputs))
    assert find_answer(TaskDescription("Is the customer angry?", examples)).choices == choices


def test_output_format_that_wants_more_leaves_the_answer_free() -> None:
    assert find_answer(TaskDescription("Is it rude?", output_format="one word")).choices == ("yes", "no")
    assert find_answer(TaskDescription("Is it rude?", output_format="a sentence with a reason")).kind == "text"
