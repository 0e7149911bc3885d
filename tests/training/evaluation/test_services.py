"""What the services are asked: the prompt that is evaluated, and answers of a sensible length."""

from cloud_service.schemas import GenerateLoraBody
from cloud_service.task import Example, TaskDescription, Tool, render_prompt
from loragen.client import RemoteError
from training.data.episodes import Instance
from training.evaluation.services import LONGEST_ANSWER, is_refusal, longest_answer, task_body
from training.evaluation.suites import SuiteTask


def test_cloud_renders_the_prompt_that_is_scored() -> None:
    task = TaskDescription(
        "Pick a tool.",
        (Example("wake me", "set_alarm"),),
        (Tool("set_alarm", "Sets an alarm.", ("time", "label")), Tool("fn42", "")),
        "Only the name.",
    )
    request = GenerateLoraBody.model_validate(task_body(task, ("set_alarm", "fn42"))).to_request()
    assert render_prompt(request.task).replace(": string", "") == render_prompt(task), "all parameters are texts"
    assert request.task.answer is not None
    assert request.task.answer.choices == ("set_alarm", "fn42")
    assert GenerateLoraBody.model_validate(task_body(task)).to_request().task.answer is None


def test_answer_has_room_for_what_is_right_and_hardly_more() -> None:
    def task(output: str, *choices: str) -> SuiteTask:
        return SuiteTask("one", TaskDescription(""), (Instance("x", output),), (), (choices,) if choices else ())

    assert longest_answer(task("Rome")) == 6
    assert longest_answer(task("word " * 500)) == LONGEST_ANSWER
    assert longest_answer(task("é", "é", "no")) == 3


def test_only_a_refusal_that_repeats_itself_is_an_answer_of_nothing() -> None:
    assert is_refusal(RemoteError("too long", code="prompt_too_long", status=422))
    assert not is_refusal(RemoteError("busy", code="overloaded", status=503))
    assert not is_refusal(RemoteError("gone", code="unreachable"))
