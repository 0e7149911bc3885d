"""Requests that get an error instead of an answer: the status, the body, and that the service goes on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from edge_runtime.serving.app import create_app
from edge_runtime.serving.schemas import MAX_BODY_BYTES
from edge_runtime.serving.slots import SlotTable
from loragen.device_answers import ServedModel
from tests.edge_runtime.fakes import FakeLoader, eventually
from tests.edge_runtime.serving.fake_device import FakeDevice, RecordingTelemetry
from tests.edge_runtime.serving.wire import chat, events


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model": "base", "prompt": "\xff"}', "expected UTF-8, found invalid start byte at byte 29"),
        (b'{"mod', "expected JSON, found a fault at character 1"),
        (b"[" * 100_000, "deeper nesting"),
        (b'{"model": "base", "prompt": "x", "max_tokens": ' + b"9" * 9_000 + b"}", "numbers of reasonable length"),
        (b'{"model": "base", "prompt": "\\ud800"}', "prompt"),
        (b'{"model": "base", "prompt": ["\\ud800"]}', "lone surrogate"),
        (b'{"model": "base", "prompt": [' + b'"a", ' * 200 + b'"b"]}', "at most 128 items"),
        (b'{"model": "base", "prompt": []}', "at least 1 item"),
        (b"{" + b", ".join(b'"%d": 0' % field for field in range(200)) + b"}", "at most 128 items, found 200"),
    ],
)
async def test_body_that_cannot_be_read_is_refused_with_the_reason(
    client: httpx2.AsyncClient, body: bytes, expected: str
) -> None:
    answer = await client.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "invalid_request"
    assert expected in error["message"]
    assert "parsing the body" not in error["message"]


REFUSED = [
    ({"messages": []}, 400, "invalid_request"),
    ({"messages": "hi"}, 400, "invalid_request"),
    ({"messages": [{"role": "king", "content": "x"}]}, 400, "invalid_request"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, 400, "invalid_request"),
    ({"temperature": 3}, 400, "invalid_request"),
    ({"temperature": "hot"}, 400, "invalid_request"),
    ({"top_p": -0.1}, 400, "invalid_request"),
    ({"max_tokens": 0}, 400, "invalid_request"),
    ({"stop": [""]}, 400, "invalid_request"),
    ({"stop": ["x"] * 17}, 400, "invalid_request"),
    ({"model": ""}, 400, "invalid_request"),
    ({"model": 5}, 400, "invalid_request"),
    ({"model": "nobody"}, 404, "model_not_found"),
    ({"model": "../../etc/passwd"}, 404, "model_not_found"),
    ({"model": "late"}, 503, "not_ready"),
    ({"n": 20}, 400, "invalid_request"),
    ({"logprobs": 7}, 400, "invalid_request"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}] * 2}, 400, "invalid_request"),
    ({"chat_template_kwargs": {"messages": "x"}}, 400, "invalid_request"),
    ({"chat_template_kwargs": {"enable_thinking": {}}}, 400, "invalid_request"),
    ({"tool_choice": "required"}, 400, "unsupported_parameter"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {}}}}}, 400, "unsupported_schema"),
    ({"logit_bias": {"256": 1}}, 400, "invalid_request"),
    ({"n_predict": 5}, 400, "unsupported_parameter"),
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
    assert set(error) == {"code", "message", "hint", "request_id", "documentation_url", "type", "param"}
    assert (await client.post("/v1/chat/completions", json=chat())).status_code == 200


async def test_request_for_too_much_is_refused_by_its_fields(client: httpx2.AsyncClient) -> None:
    body = {"model": "base", "prompt": ["hi"] * 128, "n": 8, "max_tokens": 4096}
    answer = await client.post("/v1/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert "'max_tokens' x 'n' x prompts" in answer.json()["error"]["message"]


async def test_probabilities_of_choices_are_those_of_one_prompt(client: httpx2.AsyncClient) -> None:
    body = {"model": "router", "prompt": ["a", "b"], "choice_probabilities": True}
    answer = await client.post("/v1/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_parameter")
    assert "several prompts" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"temperature": 3}, "temperature"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"guided_choice": ["a"]}, "guided_choice"),
        ({"model": "nope"}, None),
        ({"temperature": 3, "top_p": 3}, None),
    ],
)
async def test_error_names_the_field_as_openai_does(
    client: httpx2.AsyncClient, change: dict[str, Any], field: str | None
) -> None:
    body = {"model": "base", "messages": [{"role": "user", "content": "hi"}], **change}
    error = (await client.post("/v1/chat/completions", json=body)).json()["error"]
    assert error["param"] == field


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
async def test_ollama_loads_only_models_that_are_there(
    client: httpx2.AsyncClient, device: FakeDevice, slots: SlotTable, path: str
) -> None:
    """One that is not in memory is loaded. What is not there is told as Ollama tells it: `error` is a text."""
    device.entries.append(ServedModel("broken", "failed", message="not finite", permanent=True))
    slots.register(replace(slots.revisions()["router"], name="cold"))
    for name in ("base", "router:latest", "cold", "org/Tiny-Edge"):
        answer = await client.post(path, json={"model": name})
        assert (answer.status_code, answer.json()["done_reason"]) == (200, "load")
    assert slots.is_resident("cold")
    for name, status, code in (
        ("nobody", 404, "model_not_found"),
        ("nobody:latest", 404, "model_not_found"),
        ("broken", 404, "specialization_failed"),
        ("late", 503, "not_ready"),
    ):
        answer = await client.post(path, json={"model": name})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert isinstance(answer.json()["error"], str)
    slots.remove("cold")
    await slots.drained()


@pytest.mark.parametrize(
    ("path", "body"), [("/tokenize", {"prompt": "hi"}), ("/detokenize", {"tokens": [5]}), ("/tokenizer_info", None)]
)
@pytest.mark.parametrize(("model", "status", "code"), [("late", 503, "not_ready"), ("nobody", 404, "model_not_found")])
async def test_tokens_of_a_model_that_will_serve_are_asked_for_again(
    client: httpx2.AsyncClient, path: str, body: dict[str, Any] | None, model: str, status: int, code: str
) -> None:
    if body is None:
        answer = await client.get(path, params={"model": model})
    else:
        answer = await client.post(path, json={"model": model, **body})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


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
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "hint", "request_id", "documentation_url", "type", "param"}
    page = await client.get(error["documentation_url"])
    assert page.status_code == 200
    assert f'<div id="{error["code"]}"><dt>{error["code"]}</dt><dd>HTTP {status}.' in page.text


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


async def test_client_at_another_address_is_answered_though_one_fills_the_queue(
    client: httpx2.AsyncClient, slots: SlotTable, device: FakeDevice, loader: FakeLoader
) -> None:
    loader.hold.clear()
    first, second = (asyncio.create_task(client.post("/v1/chat/completions", json=chat())) for _ in range(2))
    await eventually(lambda: slots.requests_waiting() == 1)
    app = create_app(slots, device, RecordingTelemetry())
    transport = httpx2.ASGITransport(app, client=("192.0.2.7", 50_000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as other:
        answering = asyncio.create_task(other.post("/v1/chat/completions", json=chat()))
        done, _ = await asyncio.wait({first, second}, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = [task.result() for task in done]
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        loader.hold.set()
        assert (await answering).status_code == 200
    assert sorted(task.status_code for task in await asyncio.gather(first, second)) == [200, 503]


async def test_model_failure_before_the_first_token_is_a_500(client: httpx2.AsyncClient, loader: FakeLoader) -> None:
    loader.engines[1].words = [b"NaN"]
    answer = await client.post("/v1/chat/completions", json=chat())
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "model_output_invalid"


async def test_model_failure_inside_a_stream_is_its_last_event(
    client: httpx2.AsyncClient, loader: FakeLoader, telemetry: RecordingTelemetry
) -> None:
    loader.engines[1].words = [b"one ", b"NaN"]
    answer = await client.post("/v1/chat/completions", json=chat(stream=True))
    *_, last = events(answer.text)
    assert last["error"]["code"] == "model_output_invalid"
    assert telemetry.records[-1].code == "model_output_invalid"
    assert (await client.post("/v1/completions", json={"model": "base", "prompt": "hi"})).status_code == 200


async def test_failure_says_whether_it_is_worth_asking_again(client: httpx2.AsyncClient, device: FakeDevice) -> None:
    """A final one is a 404, after which clients stop: they ask again after a 409 too."""
    device.entries += [
        ServedModel("retried", "failed", message="no answer in time"),
        ServedModel("broken", "failed", message="numbers that are not finite", permanent=True),
    ]
    answer = await client.post("/v1/chat/completions", json=chat("retried"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
    assert answer.headers["retry-after"] == "30"
    answer = await client.post("/v1/chat/completions", json=chat("broken"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "specialization_failed")
    assert "numbers that are not finite" in answer.json()["error"]["message"]
    assert "retry-after" not in answer.headers


async def test_nothing_serves_yet_is_a_503(device: FakeDevice, telemetry: RecordingTelemetry) -> None:
    device.reason = "the device is starting"
    empty = SlotTable(FakeLoader(), 1, 1)
    transport = httpx2.ASGITransport(create_app(empty, device, telemetry))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post("/v1/chat/completions", json=chat())
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "starting"
        ready = await client.get("/health/ready")
        assert (ready.status_code, ready.json()["error"]["code"]) == (503, "not_ready")
        assert ready.json()["error"]["message"] == "the device is starting"
        assert (await client.get("/health/live")).status_code == 200
