"""The HTTP interface over slots whose engines are fakes."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from contract.names import BASE_NAME
from edge_runtime.serving.api import create_app
from edge_runtime.serving.schemas import MAX_BODY_BYTES
from edge_runtime.serving.slots import Revision, SlotTable
from tests.edge_runtime.fakes import FakeLoader, eventually
from tests.edge_runtime.serving.fake_device import BUNDLE, FakeDevice, RecordingTelemetry


@pytest.fixture
def loader() -> Iterator[FakeLoader]:
    fake = FakeLoader()
    yield fake
    fake.hold.set()
    fake.step.set()


@pytest.fixture
def device() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def telemetry() -> RecordingTelemetry:
    return RecordingTelemetry()


@pytest.fixture
async def slots(loader: FakeLoader, tmp_path: Path) -> AsyncIterator[SlotTable]:
    table = SlotTable(loader, max_resident=4, max_queue=2)
    for name, text, bundle in ((BASE_NAME, "plain words", None), ("router", "call get_weather now", BUNDLE)):
        path = tmp_path / f"{name}.gguf"
        path.write_text(text)
        table.activate(await table.prepare(Revision(name, bundle, "merged" if bundle else "base", path)))
    yield table
    loader.hold.set()
    await table.close()


@pytest.fixture
async def client(
    slots: SlotTable, device: FakeDevice, telemetry: RecordingTelemetry
) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(create_app(slots, device, telemetry), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://edge") as made:
        yield made


def chat(model: str = "router", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}


def events(text: str) -> list[Any]:
    """The data of a stream's events."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def test_chat_answers_as_openai_does(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/chat/completions", json=chat(temperature=0))
    assert answer.status_code == 200
    body = answer.json()
    assert body["object"] == "chat.completion"
    assert body["model"] == "router"
    assert body["system_fingerprint"] == f"merged-{BUNDLE}"
    message = {"role": "assistant", "content": "call get_weather now "}
    assert body["choices"] == [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    assert body["usage"] == {
        "prompt_tokens": 8,
        "completion_tokens": 3,
        "total_tokens": 11,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


async def test_completion_answers_as_openai_does(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/completions", json={"model": "base", "prompt": "hi", "max_tokens": 1})
    body = answer.json()
    assert body["object"] == "text_completion"
    assert body["choices"] == [{"index": 0, "text": "plain ", "logprobs": None, "finish_reason": "length"}]
    assert body["system_fingerprint"] == "base"


@pytest.mark.parametrize("prompt", ["hi", ["hi"], [3, 4, 5]])
async def test_prompt_may_be_text_or_tokens(client: httpx2.AsyncClient, loader: FakeLoader, prompt: Any) -> None:
    answer = await client.post("/v1/completions", json={"model": "base", "prompt": prompt})
    assert answer.json()["usage"]["prompt_tokens"] == 3
    assert answer.json()["choices"][0]["text"] == "plain words "


async def test_base_answers_to_its_own_id_too(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/completions", json={"model": "org/Nano-Edge", "prompt": "hi"})
    assert answer.json()["system_fingerprint"] == "base"
    assert answer.json()["model"] == "org/Nano-Edge"


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


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"model": "base", "prompt": "\xff"}', "expected UTF-8, found invalid start byte at byte 29"),
        (b'{"mod', "expected JSON, found a fault at character 1"),
        (b"[" * 100_000, "deeper nesting"),
        (b'{"model": "base", "prompt": "x", "max_tokens": ' + b"9" * 9_000 + b"}", "numbers of reasonable length"),
        (b'{"model": "base", "prompt": "\\ud800"}', "prompt"),
        (b'{"model": "base", "prompt": ["\\ud800"]}', "lone surrogate"),
        (b'{"model": "base", "prompt": ["a", "b"]}', "at most 1 item"),
        (b'{"model": "base", "prompt": []}', "at least 1 item"),
    ],
)
async def test_body_that_cannot_be_read_is_told_what_is_wrong(
    client: httpx2.AsyncClient, body: bytes, told: str
) -> None:
    answer = await client.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "invalid_request"
    assert told in error["message"]
    assert "parsing the body" not in error["message"]


REFUSED = [
    ({"messages": []}, 400, "invalid_request"),
    ({"messages": "hi"}, 400, "invalid_request"),
    ({"messages": [{"role": "king", "content": "x"}]}, 400, "invalid_request"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, 400, "invalid_request"),
    ({"temperature": 3}, 400, "invalid_request"),
    ({"temperature": "hot"}, 400, "invalid_request"),
    ({"top_p": 0}, 400, "invalid_request"),
    ({"max_tokens": 0}, 400, "invalid_request"),
    ({"stop": [""]}, 400, "invalid_request"),
    ({"stop": ["x"] * 17}, 400, "invalid_request"),
    ({"model": ""}, 400, "invalid_request"),
    ({"model": 5}, 400, "invalid_request"),
    ({"model": "nobody"}, 404, "model_not_found"),
    ({"model": "../../etc/passwd"}, 404, "model_not_found"),
    ({"model": "late"}, 503, "not_ready"),
    ({"n": 2}, 400, "unsupported_parameter"),
    ({"logprobs": True}, 400, "unsupported_parameter"),
    ({"tools": [{"type": "function"}]}, 400, "unsupported_parameter"),
    ({"response_format": {"type": "json_object"}}, 400, "unsupported_parameter"),
    ({"logit_bias": {"5": 1}}, 400, "unsupported_parameter"),
    ({"guided_choice": ["a", "b"]}, 400, "unsupported_parameter"),
    ({"structured_outputs": {"regex": "a|b"}}, 400, "invalid_request"),
    ({"structured_outputs": {"choice": []}}, 400, "invalid_request"),
    ({"structured_outputs": {"choice": [""]}}, 400, "invalid_request"),
    ({"structured_outputs": {"choice": ["x"] * 257}}, 400, "invalid_request"),
]


@pytest.mark.parametrize(("change", "status", "code"), REFUSED)
@pytest.mark.parametrize("stream", [False, True])
async def test_refused_request_has_a_whole_error_body(
    client: httpx2.AsyncClient, change: dict[str, Any], status: int, code: str, stream: bool
) -> None:
    """Before the first token an error is a status and a body, streamed or not, and the service goes on."""
    answer = await client.post("/v1/chat/completions", json={**chat(stream=stream), **change})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]
    assert set(error) == {"code", "message", "hint", "request_id", "type"}
    assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200


async def test_neutral_parameters_are_let_through(client: httpx2.AsyncClient) -> None:
    body = chat(
        n=1, user="me", metadata={"a": "b"}, tools=[], response_format={"type": "text"}, logit_bias={}, store=True
    )
    assert (await client.post("/v1/chat/completions", json=body)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_over_long_prompt_is_refused_with_both_numbers(client: httpx2.AsyncClient, stream: bool) -> None:
    answer = await client.post("/v1/completions", json={"model": "base", "prompt": "x" * 80, "stream": stream})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert "81 tokens" in error["message"]
    assert "64" in error["message"]


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"model": "\xff"}', b"[" * 50_000, b'{"model":' * 5_000],
)
async def test_body_that_is_no_request_is_refused(client: httpx2.AsyncClient, data: bytes) -> None:
    answer = await client.post("/v1/completions", content=data, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_request"


@pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "multipart/form-data", ""])
async def test_other_content_type_is_refused(client: httpx2.AsyncClient, media_type: str) -> None:
    answer = await client.post("/v1/completions", content=b"{}", headers={"Content-Type": media_type})
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"


async def test_body_over_the_limit_is_refused_announced_or_not(client: httpx2.AsyncClient) -> None:
    data = b'{"model": "base", "prompt": "' + b"x" * MAX_BODY_BYTES + b'"}'

    async def unannounced() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 65_536):
            yield data[start : start + 65_536]

    for content in (data, unannounced()):
        answer = await client.post("/v1/completions", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "body_too_large"


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/v1/models/nobody", 404), ("/v1/completions", 405)])
async def test_wrong_paths_have_the_same_error_body(client: httpx2.AsyncClient, path: str, status: int) -> None:
    answer = await client.get(path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"code", "message", "hint", "request_id", "type"}


async def test_request_id_is_kept_when_it_is_harmless(client: httpx2.AsyncClient) -> None:
    for sent, kept in (("abc-123", True), ("x" * 65, False), ("a\tb", False), ("", False)):
        answer = await client.get("/health/live", headers={"X-Request-ID": sent})
        assert (answer.headers["x-request-id"] == sent) is kept


async def test_full_queue_is_503_with_retry_after(client: httpx2.AsyncClient, loader: FakeLoader) -> None:
    loader.hold.clear()
    waiting = [asyncio.create_task(client.post("/v1/chat/completions", json=chat())) for _ in range(2)]
    await eventually(lambda: loader.engines[1].prefilled)
    answer = await client.post("/v1/chat/completions", json=chat())
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["error"]["code"] == "overloaded"
    assert (await client.get("/health/live")).status_code == 200
    loader.hold.set()
    assert {task.status_code for task in await asyncio.gather(*waiting)} == {200}


async def test_model_failure_before_the_first_token_is_a_500(client: httpx2.AsyncClient, loader: FakeLoader) -> None:
    loader.engines[1].answer = [b"NaN"]
    answer = await client.post("/v1/chat/completions", json=chat())
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "model_output_invalid"


async def test_model_failure_inside_a_stream_is_its_last_event(
    client: httpx2.AsyncClient, loader: FakeLoader, telemetry: RecordingTelemetry
) -> None:
    loader.engines[1].answer = [b"one ", b"NaN"]
    answer = await client.post("/v1/chat/completions", json=chat(stream=True))
    *_, last = events(answer.text)
    assert last["error"]["code"] == "model_output_invalid"
    assert telemetry.records[-1].error == "model_output_invalid"
    assert (await client.post("/v1/completions", json={"model": "base", "prompt": "hi"})).status_code == 200


async def test_nothing_serves_yet_is_a_503(device: FakeDevice, telemetry: RecordingTelemetry) -> None:
    device.reason = "the device is starting"
    empty = SlotTable(FakeLoader(), 1, 1)
    transport = httpx2.ASGITransport(create_app(empty, device, telemetry))
    async with httpx2.AsyncClient(transport=transport, base_url="http://edge") as client:
        answer = await client.post("/v1/chat/completions", json=chat())
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "starting"
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["reason"]) == (503, "the device is starting")
        assert (await client.get("/health/live")).status_code == 200


async def test_models_say_how_their_lora_is_applied(client: httpx2.AsyncClient) -> None:
    listed = (await client.get("/v1/models")).json()
    assert listed["object"] == "list"
    base, router, late = listed["data"]
    assert (base["id"], base["state"], base["bundle_id"]) == ("org/Nano-Edge", "base", None)
    assert router == {
        "object": "model",
        "owned_by": "loragen",
        "id": "router",
        "state": "merged",
        "bundle_id": BUNDLE,
        "failed_bundle_id": None,
        "message": "",
        "created": 0,
        "merge_seconds": 0.5,
        "survival": 0.98,
        "survival_mean": 0.99,
        "prompt_tokens": None,
        "resident": True,
    }
    assert late["state"] == "pending"
    assert (await client.get("/v1/models/router")).json() == router
    assert (await client.get("/v1/models/org/Nano-Edge")).json() == base
    assert (await client.get("/v1/models/base")).json() == base


async def test_status_is_the_report(client: httpx2.AsyncClient) -> None:
    report = (await client.get("/status")).json()
    assert report["device_id"] == "dev"
    assert [model["id"] for model in report["models"]] == ["org/Nano-Edge", "router", "late"]


async def test_one_record_for_each_request_and_no_prompt_in_it(
    client: httpx2.AsyncClient, telemetry: RecordingTelemetry, capfd: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("edge_runtime").setLevel(logging.DEBUG)
    secret = "swordfish"
    for stream in (False, True):
        await client.post(
            "/v1/chat/completions",
            json={"model": "router", "messages": [{"role": "user", "content": secret}], "stream": stream},
        )
    await client.post("/v1/completions", json={"model": secret, "prompt": secret})
    first, second, refused = telemetry.records
    assert (first.route, first.status, first.model, first.streamed) == ("/v1/chat/completions", 200, "router", False)
    assert second.streamed
    for record in (first, second):
        assert record.fingerprint == f"merged-{BUNDLE}"
        assert (record.prompt_tokens, record.completion_tokens, record.finish_reason) == (15, 3, "stop")
        assert record.first_token_seconds is not None
        assert record.duration_seconds > 0
    assert (refused.status, refused.error, refused.model) == (404, "model_not_found", None)
    captured = capfd.readouterr()
    assert "router" in captured.out + captured.err
    assert secret not in captured.out + captured.err


async def test_metrics_count_what_happened(client: httpx2.AsyncClient) -> None:
    await client.post("/v1/chat/completions", json=chat())
    await client.post("/v1/chat/completions", json=chat(model="nobody"))
    text = (await client.get("/metrics")).text
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["loragen_edge_requests_total", "/v1/chat/completions", "200"] == 1
    assert found["loragen_edge_requests_total", "/v1/chat/completions", "404"] == 1
    assert found["loragen_edge_tokens_total", "completion"] == 3
    assert found["loragen_edge_tokens_total", "prompt"] == 8
    assert found["loragen_edge_time_to_first_token_seconds_count", "merged"] == 1
    assert found["loragen_edge_decode_tokens_per_second_count", "merged"] == 1
    assert "nobody" not in text


async def test_openapi_describes_the_bodies(client: httpx2.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()
    assert set(schema["components"]["schemas"]) >= {"CompletionBody", "ChatCompletionBody"}
