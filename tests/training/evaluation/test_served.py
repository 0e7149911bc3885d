"""The product's path: the service reads the prompt that is evaluated."""

from cloud_service.schemas import GenerateLoraBody
from cloud_service.task import Example, TaskDescription, Tool, render_prompt
from training.evaluation.served import request_body


def test_cloud_renders_the_prompt_that_is_scored() -> None:
    task = TaskDescription(
        "Pick a tool.",
        (Example("wake me", "set_alarm"),),
        (Tool("set_alarm", "Sets an alarm.", ("time", "label")), Tool("fn42", "")),
        "Only the name.",
    )
    request = GenerateLoraBody.model_validate(request_body(task)).to_request()
    assert render_prompt(request.task) == render_prompt(task)
