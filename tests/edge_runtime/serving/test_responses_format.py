"""The response, and the events of its stream, as OpenAI's client types have them."""

import json
from typing import Any

import pytest
from openai.types.responses import Response

from edge_runtime.serving.answer_format import TokenCounts, WholeAnswer
from edge_runtime.serving.events import ArgumentsPiece, CallFinished, CallStarted, Event, Finished, TextPiece
from edge_runtime.serving.responses_format import ResponsesFormat

USAGE = TokenCounts(5, 3, 2)
ASKED = {"model": "router", "tools": [], "tool_choice": "auto", "parallel_tool_calls": True}
CALLS: list[Event] = [
    TextPiece("So."),
    CallStarted("find"),
    ArgumentsPiece('{"a":'),
    ArgumentsPiece(" 1}"),
    CallFinished(),
    CallStarted("stop", 0, 1),
    ArgumentsPiece("{}", 0, 1),
    CallFinished(0, 1),
    Finished("tool_calls", 3),
]


def streamed(events: list[Event]) -> list[dict[str, Any]]:
    form = ResponsesFormat("1", 1_700_000_000, ASKED, "merged-1")
    stream = "".join(form.chunk(event) for event in events) + form.closing(USAGE)
    found = []
    for number, block in enumerate(filter(None, stream.split("\n\n"))):
        kind, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert kind == f"event: {found[-1]['type']}"
        assert found[-1]["sequence_number"] == number
    return found


def whole(events: list[Event]) -> dict[str, Any]:
    answer = WholeAnswer()
    for event in events:
        answer.add(event)
    return dict(ResponsesFormat("1", 1_700_000_000, ASKED, "merged-1").whole([answer], USAGE))


def test_stream_ends_with_the_whole_response() -> None:
    for events in (CALLS, CALLS[1:], [TextPiece("hi"), Finished("stop", 3)], [Finished("stop", 0)]):
        found = streamed(events)
        assert [event["type"] for event in found[:2]] == ["response.created", "response.in_progress"]
        assert found[-1] == {"type": "response.completed", "sequence_number": len(found) - 1, "response": whole(events)}
        Response.model_validate(found[-1]["response"], strict=True)


def test_each_item_is_added_grows_and_is_done() -> None:
    found = streamed(CALLS)
    items = whole(CALLS)["output"]
    assert [item["type"] for item in items] == ["message", "function_call", "function_call"]
    done = [event for event in found if event["type"] == "response.output_item.done"]
    assert [event["item"] for event in done] == items
    assert [event["output_index"] for event in done] == [0, 1, 2]
    added = [event["item"]["id"] for event in found if event["type"] == "response.output_item.added"]
    assert added == [item["id"] for item in items]
    arguments = {item["id"]: "" for item in items}
    for event in found:
        if event["type"] == "response.function_call_arguments.delta":
            arguments[event["item_id"]] += event["delta"]
    assert list(arguments.values()) == ["", '{"a": 1}', "{}"]


def test_answer_that_is_cut_is_incomplete() -> None:
    events: list[Event] = [TextPiece("hi"), Finished("length", 3)]
    response = whole(events)
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert response["output"][0]["status"] == "incomplete"
    assert streamed(events)[-1]["type"] == "response.incomplete"


@pytest.mark.parametrize(
    ("behind", "statuses"), [([], ["completed"]), (CALLS[5:7], ["completed", "incomplete"])], ids=["name", "arguments"]
)
def test_whole_call_is_completed_though_the_next_one_is_cut(behind: list[Event], statuses: list[str]) -> None:
    """The response is incomplete; a call says so when it is."""
    events = [*CALLS[1:5], *behind, Finished("length", 3)]
    response, found = whole(events), streamed(events)
    assert response["status"] == "incomplete"
    assert [item["status"] for item in response["output"]] == statuses
    assert found[-1]["response"] == response
    done = [event["item"] for event in found if event["type"] == "response.output_item.done"]
    assert done == response["output"]
    Response.model_validate(response, strict=True)


def test_failure_is_an_event() -> None:
    form = ResponsesFormat("1", 1_700_000_000, ASKED, "merged-1")
    sent = form.failure({"error": {"code": "model_output_invalid", "message": "not finite", "hint": ""}})
    assert sent.startswith("event: error\ndata: ")
    assert '"message":"not finite"' in sent
