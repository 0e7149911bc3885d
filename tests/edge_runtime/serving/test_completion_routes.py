"""Answers of the HTTP interface, whole and streamed."""

import asyncio
from typing import Any

import httpx2
import pytest

from edge_runtime.serving import completion_routes
from edge_runtime.serving.slots import SlotTable
from edge_runtime.serving.use import Use
from loragen.contract.answer import TEXT_ANSWER
from tests.edge_runtime.contracts import DESKS
from tests.edge_runtime.fakes import FakeLoader, eventually, without_weights
from tests.edge_runtime.serving.fake_device import BUNDLE, RecordingTelemetry
from tests.edge_runtime.serving.wire import chat, events
from tests.traces import tracing


async def test_chat_answers_as_openai_does(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/chat/completions", json=chat(temperature=0))
    assert answer.status_code == 200
    body = answer.json()
    assert body["object"] == "chat.completion"
    assert body["model"] == "router"
    assert without_weights(body["system_fingerprint"]) == f"merged-{BUNDLE}"
    message = {"role": "assistant", "content": "call get_weather now "}
    assert body["choices"] == [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    assert body["usage"] == {
        "prompt_tokens": 8,
        "completion_tokens": 3,
        "total_tokens": 11,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


async def test_what_a_model_read_and_wrote_is_counted(client: httpx2.AsyncClient, slots: SlotTable) -> None:
    """What its merge is worth goes by it. What the base model answers in its stead is none of it."""
    for stream in (False, True):
        await client.post("/v1/chat/completions", json=chat(stream=stream))
    use = slots.uses()["router"]
    assert (use.requests, use.written_tokens) == (2, 6)
    assert 8 <= use.read_tokens <= 16
    await client.post("/v1/completions", json={"model": "base", "prompt": "hi", "max_tokens": 1})
    assert slots.uses()["router"] == use
    assert slots.uses()["base"] == Use(1, 3, 1)


async def test_completion_answers_as_openai_does(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/completions", json={"model": "base", "prompt": "hi", "max_tokens": 1})
    body = answer.json()
    assert body["object"] == "text_completion"
    assert body["choices"] == [{"index": 0, "text": "plain ", "logprobs": None, "finish_reason": "length"}]
    assert without_weights(body["system_fingerprint"]) == "base"


@pytest.mark.parametrize("prompt", ["hi", ["hi"], [3, 4, 5]])
async def test_prompt_may_be_text_or_tokens(client: httpx2.AsyncClient, loader: FakeLoader, prompt: Any) -> None:
    answer = await client.post("/v1/completions", json={"model": "base", "prompt": prompt})
    assert answer.json()["usage"]["prompt_tokens"] == 3
    assert answer.json()["choices"][0]["text"] == "plain words "


async def test_base_answers_to_its_own_id_too(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/completions", json={"model": "org/Tiny-Edge", "prompt": "hi"})
    assert without_weights(answer.json()["system_fingerprint"]) == "base"
    assert answer.json()["model"] == "org/Tiny-Edge"


async def test_chat_stream_is_openais(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/chat/completions", json=chat(stream=True, stream_options={"include_usage": True}))
    assert answer.headers["content-type"].startswith("text/event-stream")
    first, *middle, last, usage, done = events(answer.text)
    assert done == "[DONE]"
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in middle) == "call get_weather now "
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 11
    assert {chunk["object"] for chunk in (first, *middle, last, usage)} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in (first, *middle, last, usage)}) == 1


async def test_completion_stream_has_no_usage_unless_asked(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/completions", json={"model": "base", "prompt": "hi", "stream": True})
    *chunks, done = events(answer.text)
    assert done == "[DONE]"
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["plain ", "words ", ""]
    assert all("usage" not in chunk for chunk in chunks)


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"structured_outputs": {"choice": ["call get_weather now "]}}])
async def test_answer_takes_as_long_as_its_tokens(
    client: httpx2.AsyncClient, loader: FakeLoader, telemetry: RecordingTelemetry, more: dict[str, Any]
) -> None:
    """Also one that is sent only when it is whole: speeds are made of this, and rollouts are stopped by speeds."""
    loader.step.clear()
    asked = asyncio.create_task(client.post("/v1/chat/completions", json=chat(**more)))
    await eventually(lambda: any(engine.prefilled for engine in loader.engines))
    await asyncio.sleep(0.1)
    loader.step.set()
    assert (await asked).status_code == 200
    (record,) = telemetry.records
    assert record.completion_tokens == 3
    assert record.decode_seconds is not None
    assert record.decode_seconds >= 0.05


async def test_stop_strings_end_the_answer(client: httpx2.AsyncClient) -> None:
    for stop in ("get", ["zzz", "get"]):
        answer = await client.post("/v1/chat/completions", json=chat(stop=stop))
        assert answer.json()["choices"][0]["message"]["content"] == "call "
        assert answer.json()["choices"][0]["finish_reason"] == "stop"


async def test_content_in_parts_is_joined_and_developer_is_system(
    client: httpx2.AsyncClient, loader: FakeLoader
) -> None:
    messages = [
        {"role": "developer", "content": "D"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]
    answer = await client.post("/v1/chat/completions", json={"model": "router", "messages": messages})
    engine = loader.engines[1]
    assert engine.prefilled[-1] == engine.tokenize("<system>D<user>ab")[1:]
    assert answer.status_code == 200


async def test_choice_of_a_contract_carries_probabilities_when_they_are_asked_for(
    client: httpx2.AsyncClient, loader: FakeLoader
) -> None:
    loader.engines[1].answer = DESKS
    answer = await client.post("/v1/chat/completions", json=chat(choice_probabilities=True))
    assert answer.json()["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "billing"},
            "logprobs": None,
            "finish_reason": "stop",
            "choice_probabilities": dict.fromkeys(DESKS.choices, 1 / 3),
        }
    ]
    plain = await client.post("/v1/chat/completions", json=chat())
    assert "choice_probabilities" not in plain.json()["choices"][0]
    free = await client.post("/v1/chat/completions", json=chat(constrain=False))
    assert free.json()["choices"][0]["message"]["content"] == "call get_weather now "


async def test_probabilities_that_cannot_be_reported_are_refused_by_name(
    client: httpx2.AsyncClient, loader: FakeLoader
) -> None:
    for contract, change in ((TEXT_ANSWER, {}), (DESKS, {"stream": True}), (DESKS, {"constrain": False})):
        loader.engines[1].answer = contract
        answer = await client.post("/v1/chat/completions", json=chat(choice_probabilities=True, **change))
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "unsupported_parameter")
        assert "'choice_probabilities'" in error["message"]


async def test_stream_that_waits_for_its_first_token_is_kept_open(
    client: httpx2.AsyncClient, loader: FakeLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By comments, which clients skip; an error is then its last event."""
    monkeypatch.setattr(completion_routes, "_PING_SECONDS", 0.01)
    for words, expected in (([b"late "], "late "), ([b"NaN"], "not finite")):
        loader.engines[1].words = words
        loader.hold.clear()
        request = asyncio.create_task(client.post("/v1/chat/completions", json=chat(stream=True)))
        await asyncio.sleep(0.1)
        assert not request.done()
        loader.hold.set()
        answer = await request
        assert answer.status_code == 200
        waiting, *rest = answer.text.split("\n\n")
        assert waiting == ": waiting"
        assert expected in "".join(line for line in rest if line.startswith("data: "))


async def test_prompt_that_is_refused_soon_is_no_stream(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/completions", json={"model": "base", "prompt": "x" * 80, "stream": True})
    assert answer.status_code == 400


@pytest.mark.parametrize("stream", [False, True])
async def test_answer_is_one_trace_with_the_times_of_its_tokens(client: httpx2.AsyncClient, stream: bool) -> None:
    with tracing() as traces:
        answer = await client.post("/v1/chat/completions", json=chat(stream=stream), headers={"traceparent": "damaged"})
    assert answer.status_code == 200
    call, wait, decode = (traces.one(name) for name in ("POST /v1/chat/completions", "until first token", "decode"))
    assert call.context is not None
    for part in (wait, decode):
        assert part.parent is not None
        assert part.parent.span_id == call.context.span_id
    assert "get_weather" not in traces.text()
