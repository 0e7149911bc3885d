"""What is asked of a device for each of the ways, and how answers are scored."""

import json
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from cloud_service.task import Example
from demo.evaluation import evaluate, is_right, ways_of
from demo.tasks import DemoTask
from loragen import DeviceClient

TASK = DemoTask("shout", {}, "Shout it.", tuple(Example(text, text.upper()) for text in "abcd"), max_tokens=7)


class FakeDevice:
    """Answers in capitals when specialized, for half of the inputs when prompted, never as base; `A` when guided."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.client = DeviceClient("http://device", transport=httpx2.MockTransport(self._answer))

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        self.asked.append(body)
        *system, user = (message["content"] for message in body["messages"])
        knows = body["model"] == "shout" or (system and user in "ab")
        text = "A" if "structured_outputs" in body else user.upper() if knows else "?"
        usage = {"prompt_tokens": len(user) + sum(map(len, system)), "completion_tokens": 1}
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        return httpx2.Response(200, json={"choices": [choice], "usage": usage})

    def ways(self, *, guided: bool) -> set[tuple[str, str | None]]:
        """The models that were asked, and behind which prompt."""
        return {
            (body["model"], body["messages"][0]["content"] if len(body["messages"]) > 1 else None)
            for body in self.asked
            if ("structured_outputs" in body) is guided
        }


def test_ways_are_scored_apart() -> None:
    scores = evaluate(TASK, FakeDevice().client)
    assert [scores[way].accuracy for way in ("base", "prompted", "specialized")] == [0, 0.5, 1]
    assert scores["prompted"].input_tokens == 1 + len("Shout it.")
    assert scores["specialized"].input_tokens == 1
    assert scores["prompted"].latency_ms > 0
    assert (scores["prompted"].first_token_ms or 0) > 0
    assert (scores["specialized"].first_token_ms or 0) > 0
    assert scores["base"].first_token_ms is None, "the table does not show it"


def test_only_the_prompted_way_sends_the_prompt() -> None:
    device = FakeDevice()
    evaluate(TASK, device.client)
    assert device.ways(guided=False) == {("base", None), ("base", "Shout it."), ("shout", None)}
    assert {(body["max_tokens"], body["temperature"]) for body in device.asked} == {(7, 0), (1, 0)}


def test_closed_set_is_asked_again_with_its_answers_named() -> None:
    device, ticks = FakeDevice(), list[None]()
    task = replace(TASK, choices=("A", "B"))
    scores = evaluate(task, device.client, lambda: ticks.append(None))
    assert device.ways(guided=True) == {("base", "Shout it.")}
    assert scores["guided"].accuracy == 0.25
    assert scores["specialized"].accuracy == 1
    assert len(ticks) == len(ways_of(task)) * len(task.cases) == 4 * len(task.cases)
    assert [*ways_of(TASK)] == ["base", "prompted", "specialized"]


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        (" Yes\n", "yes", True),
        ("yes.", "yes", False),
        ("", "yes", False),
        ("STRASSE", "straße", True),
        ('{"arguments":{"b":1,"a":"X"},"name":"f"}', '{"name": "f", "arguments": {"a": "x", "b": 1}}', True),
        ('{"name": "f", "arguments": {"a": "x"}}', '{"name": "f", "arguments": {"a": "x", "b": 1}}', False),
    ],
)
def test_answer_is_right_when_equal_but_for_case_white_space_and_layout_of_json(
    answer: str, expected: str, right: bool
) -> None:
    assert is_right(answer, expected) is right
