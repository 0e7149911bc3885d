"""Bad input over HTTP: a clear error with code, message, hint and request id each time, and a service that goes on."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cloud_service import limits
from cloud_service.bootstrap import Cloud, open_cloud
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import FakeGenerator

JSON = {"content-type": "application/json"}


def _tool(**function: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "find", **function}}]}


async def _verify(http: httpx2.AsyncClient, response: httpx2.Response, status: int, code: str) -> dict[str, str]:
    """The error has its form, and the next good request is answered."""
    error: dict[str, str] = response.json()["error"]
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert set(error) == {"code", "message", "hint", "request_id", "documentation_url"}
    assert error["code"] == code
    assert error["message"]
    assert error["request_id"] == response.headers["x-request-id"]
    assert (await http.post("/generate-lora", json={"description": "still alive?"})).status_code == 200
    return error


def _calls(**answer: Any) -> dict[str, Any]:
    return {"description": "a", "answer": {"type": "tool_calls", "functions": [{"name": "find"}], **answer}}


def _called(output: object) -> dict[str, Any]:
    """A tool, and an example that calls it."""
    properties = {"city": {"type": "string"}, "mail": {"type": "string", "format": "email"}}
    parameters = {"type": "object", "properties": properties, "required": ["city"]}
    return _tool(parameters=parameters) | {"examples": [{"input": "Rome", "output": output}]}


def _json_example(schema: dict[str, Any], value: object, text: str = "") -> dict[str, Any]:
    """An answer whose field `x` is of a schema, and an example with a value for it, or with another text."""
    answer = {"type": "json", "schema": {"type": "object", "properties": {"x": schema}, "required": ["x"]}}
    return {"description": "a", "answer": answer, "examples": [{"input": "a", "output": text or {"x": value}}]}


CYCLE = {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "none of them"),
        ({"description": "  \n "}, "none of them"),
        ({"description": None}, "none of them"),
        ({"description": 7}, "description"),
        ({"description": "a" * (limits.MAX_DESCRIPTION_CHARS + 1)}, "16000 characters, found 16001"),
        ({"examples": [{"input": "a", "output": "b"}] * (limits.MAX_EXAMPLES + 1)}, "64 items without refine"),
        ({"examples": [{"input": "a" * 4001, "output": "b"}]}, "examples.0.input: String should have at most 4000"),
        ({"examples": [{"input": "a"}]}, "examples.0.output: Field required"),
        ({"examples": [["a", "b"]]}, "examples.0"),
        ({"examples": [{"input": " ", "output": ""}]}, "examples.0: expected an input or an output"),
        ({"description": "a", "strict": "yes"}, "strict: Input should be a valid boolean"),
        ({"description": "a", "strict": 1}, "strict: Input should be a valid boolean"),
        ({"description": "a", "include": ["keys"]}, "include.0"),
        ({"output_format": "a" * 2001, "description": "a"}, "output_format"),
        ({"tools": [{"type": "web_search", "name": "find"}]}, "tools.0: expected a function, found a tool of the type"),
        ({"tools": [{"type": "custom", "name": "find"}]}, "tools.0: expected a function"),
        ({"tools": [{"name": "a b"}]}, "tools.0.function.name"),
        ({"tools": [{"title": "find"}]}, "tools.0: expected a name"),
        ({"tools": ["find"]}, "tools.0: expected a tool as an object, found str"),
        ({"tools": [{"type": "function"}]}, "tools.0: expected a name"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "retrieval", "function": {"name": "find"}}]}, "tools.0: expected a function"),
        ({"tools": _tool()["tools"] * 65}, "tools"),
        ({"tools": _tool()["tools"] * 2}, "each tool once"),
        (
            {
                "description": "Labels: good, bad",
                "examples": [{"input": str(n), "output": text} for n, text in enumerate(("good", "bad", "fine"))],
            },
            "examples.2.output: expected one of the answers that the task names",
        ),
        (_tool(name="a b"), "tools.0.function.name"),
        (_tool(name=""), "tools.0.function.name"),
        (_tool(name="../../etc"), "tools.0.function.name"),
        (_tool(name="a" * 65), "tools.0.function.name"),
        (_tool(description="a" * 2001), "tools.0.function.description"),
        (_tool(parameters=[]), "tools.0.function.parameters"),
        (
            _tool(parameters={"type": "array"}),
            "tools.0.function.parameters: parameters: expected the schema of an object",
        ),
        (_tool(parameters={"properties": ["a"]}), "tools.0.function.parameters: schema.properties"),
        (_tool(parameters={"properties": {"a\nb": {}}}), "tools.0.function.parameters: properties"),
        (_tool(parameters={"properties": {f"p{i}": {} for i in range(65)}}), "at most 64"),
        (
            _tool(parameters={"properties": {"a": {"pattern": "(a*)+"}}}),
            "schema.properties.a.pattern: expected no repetition",
        ),
        (
            _tool(parameters={"properties": {"a": {"pattern": "a{300}"}}}),
            "at most 256 repetitions, or any number; write it",
        ),
        (_tool(parameters={"properties": {"a": {"enum": [str(n) for n in range(3000)]}}}), "at most 256 values"),
        (_tool(parameters=CYCLE), "no schema that contains itself"),
        ({"description": "a", "output_format": {"type": "json_schema", "json_schema": {"schema": CYCLE}}}, "itself"),
        ({"description": "a", "output_format": {"x": "y" * 16_000}}, "output_format"),
        ({"description": "a", "output_format": 5}, "output_format: Input should be a valid string; output_format: "),
        (
            {"description": "a", "output_format": {"type": "json_schema"}},
            "output_format: json_schema: expected a schema",
        ),
        ({"tools": [{"name": "a"}], "functions": [{"name": "b"}]}, "tools or functions, found both"),
        ({"description": "a", "answer": {"type": "json"}}, "answer: expected json_schema for an answer of type"),
        (_calls(functions=[]), "answer: expected functions for an answer of type"),
        ({"description": "a", "answer": {"type": "choice", "choices": ["a", "a"]}}, "answer: expected choices that"),
        (
            {"description": "a", "output_format": {"type": "json_shema", "json_schema": {"schema": {}}}},
            "output_format: type: expected text, json_object or json_schema, found 'json_shema'",
        ),
        (_calls(functions=[{"name": "a b"}]), "functions.0"),
        (_calls(none="find"), "each of them once"),
        (_calls(parallel="several"), "parallel"),
        (_calls() | {"examples": [{"input": "a", "output": "b"}]}, "examples.0"),
        ({"examples": [{"input": "a", "output": 5}], "output_format": {"type": "json_object"}}, "examples.0.output"),
        (
            _called({"name": "stop", "arguments": {}}),
            "examples.0.output.name: expected the name of one of the functions",
        ),
        (_called({"name": "find", "arguments": {}}), "examples.0.output.arguments: expected 'city', which is required"),
        (_called({"name": "find", "arguments": {"city": 5}}), "arguments.city: expected string, found integer"),
        (_called({"type": "tool_use", "name": "find", "input": {"town": "Rome"}}), "output.arguments: expected 'city'"),
        (_json_example({"type": "string", "format": "email"}, "none"), "output.x: expected a text of the format email"),
        (_json_example({"format": "date"}, "2026-02-30"), "examples.0.output.x: expected a text of the format date"),
        (_json_example({"pattern": "^[A-Z]{2}$"}, "de"), "examples.0.output.x: expected a text of the pattern '^[A-Z]"),
        (_json_example({"pattern": "^((a+)+b)+$"}, "a" * 3_000), "output.x: expected a text of the pattern"),
        (_json_example({"pattern": "^(?!x)", "maxLength": 3}, "abcd"), "a length of at most 3"),
        (_json_example({"propertyNames": {"format": "uuid"}}, {"a": 1}), "output.x: the name 'a': expected a text of"),
        (_json_example({"type": "number"}, "", text='{"x": 1e999}'), "examples.0.output: expected JSON, found another"),
        (_json_example({}, "", text='{"x": 1, "x": 2}'), "examples.0.output: expected JSON, found another text"),
        (
            _called({"name": "find", "arguments": {"city": "x", "mail": "nobody"}}),
            "examples.0.output.arguments.mail: expected a text of the format email",
        ),
        ({"description": "a", "exmaples": []}, "exmaples: expected no such field"),
        ({"description": "a", "publish": {"channel": "../x", "name": "y"}}, "publish.channel"),
        ({"description": "a", "publish": {"channel": "x"}}, "publish.name"),
        ([], "body: expected an object"),
        ("text", "body: expected an object"),
    ],
)
async def test_field_that_is_none_is_named_with_what_was_expected(
    http: httpx2.AsyncClient, generator: FakeGenerator, body: Any, expected: str
) -> None:
    response = await http.post("/generate-lora", json=body)
    assert generator.batches == []
    error = await _verify(http, response, 422, "invalid_request")
    assert expected in error["message"]
    assert "a" * 100 not in error["message"], "messages do not quote content"


@pytest.mark.parametrize(
    ("channel", "name", "code", "expected"),
    [
        ("a..b", "mail", "invalid_request", "publish.channel: expected a name"),
        ("kitchen", "a..b", "invalid_request", "publish.name: expected a name"),
        ("kitchen", "base", "reserved_name", "publish.name: 'base'"),
        ("kitchen", "tiny-edge", "reserved_name", "publish.name: 'tiny-edge'"),
    ],
)
async def test_target_that_nothing_can_be_published_to_is_refused_before_anything_is_made(
    http: httpx2.AsyncClient, generator: FakeGenerator, channel: str, name: str, code: str, expected: str
) -> None:
    task = {"description": "Sort each mail."}
    response = await http.post("/generate-lora", json=task | {"publish": {"channel": channel, "name": name}})
    assert generator.batches == []
    error = await _verify(http, response, 422, code)
    assert expected in error["message"]
    assert not (await http.post("/generate-lora", json=task)).json()["cached"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"description": "\xff\xfe"}', "UTF-8"),
        (b'{"description": "a"', "JSON"),
        (b"description=a", "JSON"),
        (b"\x00\x01\x02", "JSON"),
        ('{"description": "a"}'.encode("utf-16"), "UTF-8"),
        (b'{"description": "a", "description": "b"}', "once, found 'description' again"),
        (b'{"description": "a", "tools": NaN}', "found NaN"),
        # Python reads so many levels, and fails at them later.
        *(
            (b'{"description": "a", "output_format": ' + b'{"a":' * n + b"1" + b"}" * (n + 1), "deeper nesting")
            for n in (120, 950)
        ),
        (b'{"description": "a", "tools": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nesting"),
        (b'{"description": ' + b"9" * 9_000 + b"}", "numbers"),
    ],
)
async def test_body_that_is_no_json_in_utf8_is_malformed(
    http: httpx2.AsyncClient, content: bytes, expected: str
) -> None:
    response = await http.post("/generate-lora", content=content, headers=JSON)
    error = await _verify(http, response, 400, "malformed_body")
    assert expected in error["message"]


async def test_compressed_body_is_refused_with_what_is_taken(http: httpx2.AsyncClient) -> None:
    headers = JSON | {"content-encoding": "gzip"}
    response = await http.post("/generate-lora", content=gzip.compress(b'{"description": "a"}'), headers=headers)
    await _verify(http, response, 415, "unsupported_content_encoding")
    assert response.headers["accept-encoding"] == "identity"


async def test_empty_body_is_invalid(http: httpx2.AsyncClient) -> None:
    await _verify(http, await http.post("/generate-lora", headers=JSON), 422, "invalid_request")


async def test_lone_surrogate_is_invalid_wherever_it_stands(http: httpx2.AsyncClient) -> None:
    half = "\ud800"
    for body in (
        {"description": half},
        {"examples": [{"input": half, "output": "a"}]},
        {"description": "a", "edge_model": half},
        {"description": "a", half: 1},
        _tool(description=half),
        _tool(parameters={"properties": {half: 1}}),
    ):
        response = await http.post("/generate-lora", content=json.dumps(body).encode(), headers=JSON)
        await _verify(http, response, 422, "invalid_request")


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "multipart/form-data", ""],
)
async def test_other_content_type_is_unsupported(http: httpx2.AsyncClient, content_type: str) -> None:
    content = b'{"description": "a"}'
    response = await http.post("/generate-lora", content=content, headers={"content-type": content_type})
    await _verify(http, response, 415, "unsupported_media_type")
    response = await http.put("/channels/c/specializations/n", content=content, headers={"content-type": content_type})
    await _verify(http, response, 415, "unsupported_media_type")


async def test_endless_body_is_cut_at_the_limit(http: httpx2.AsyncClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 50 * limits.MAX_BODY_BYTES:
            sent += 65536
            yield b" " * 65536

    response = await http.post("/generate-lora", content=endless(), headers=JSON)
    error = await _verify(http, response, 413, "body_too_large")
    assert str(limits.MAX_BODY_BYTES) in error["message"]
    assert sent <= limits.MAX_BODY_BYTES + 2 * 65536


async def test_body_that_does_not_arrive_is_a_timeout(tmp_path: Path, generator: FakeGenerator) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    async with (
        open_cloud(settings_for(tmp_path, body_timeout_seconds=0.1), [generator]) as cloud,
        client_of(cloud) as http,
    ):
        response = await http.post("/generate-lora", content=stalled(), headers=JSON)
        await _verify(http, response, 408, "body_timeout")


async def test_unknown_generator_and_edge_model_are_reported_with_those_that_exist(http: httpx2.AsyncClient) -> None:
    response = await http.post("/generate-lora", json={"description": "a", "generator": "other"})
    error = await _verify(http, response, 422, "unknown_generator")
    assert "fake" in error["hint"]
    response = await http.post("/generate-lora", json={"description": "a", "edge_model": "../../etc/passwd"})
    error = await _verify(http, response, 422, "unknown_edge_model")
    assert "tiny-edge" in error["hint"]


async def test_prompt_over_the_models_limit_tells_both_numbers(http: httpx2.AsyncClient) -> None:
    response = await http.post("/generate-lora", json={"description": "word " * 250})
    error = await _verify(http, response, 422, "prompt_too_long")
    assert "200" in error["message"]
    assert "250" in error["message"]


async def test_model_that_crashes_fails_this_request_only(http: httpx2.AsyncClient) -> None:
    good, bad, fine = await asyncio.gather(
        *(http.post("/generate-lora", json={"description": text}) for text in ("good", "CRASH secret", "fine"))
    )
    assert (good.status_code, fine.status_code) == (200, 200)
    error = await _verify(http, bad, 500, "generation_failed")
    assert "secret" not in bad.text
    assert error["hint"]


async def test_gates_that_are_not_finite_fail_and_store_nothing(http: httpx2.AsyncClient) -> None:
    for _ in range(2):
        response = await http.post("/generate-lora", json={"description": "NAN"})
        await _verify(http, response, 500, "generation_failed")


async def test_unexpected_error_has_the_form_of_all_errors_and_tells_nothing(
    cloud: Cloud, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: object) -> None:
        raise RuntimeError("password=hunter2")

    with monkeypatch.context() as patch:
        patch.setattr(type(cloud.service), "generate", lambda self, request: fail(request))
        response = await http.post("/generate-lora", json={"description": "a"})
    await _verify(http, response, 500, "internal")
    assert "hunter2" not in response.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/generate-lora", 405, "method_not_allowed"),
        ("PATCH", "/channels/c", 405, "method_not_allowed"),
        ("GET", f"/bundles/{'0' * 64}", 404, "bundle_not_found"),
        ("GET", f"/recipes/{'0' * 64}", 404, "recipe_not_found"),
        ("GET", "/generators/other/bank", 404, "not_found"),
        ("GET", "/channels/never-used", 404, "not_found"),
        ("DELETE", "/channels/c/specializations/n", 404, "not_found"),
        ("GET", "/bundles/..%2f..%2fetc%2fpasswd", 404, "not_found"),
        ("GET", "/bundles/../../etc/passwd", 404, "not_found"),
        ("GET", "/bundles/%2e%2e", 422, "invalid_request"),
        ("GET", f"/bundles/{'A' * 64}", 422, "invalid_request"),
        ("GET", "/bundles/short", 422, "invalid_request"),
        ("GET", "/channels/a..b", 422, "invalid_name"),
        ("GET", "/channels/.hidden", 422, "invalid_request"),
        ("GET", "/channels/UPPER", 422, "invalid_request"),
        ("GET", "/channels/a%00b", 422, "invalid_request"),
        ("GET", "/channels/a%0d%0ab", 422, "invalid_request"),
        ("GET", f"/channels/{'a' * 65}", 422, "invalid_request"),
        ("GET", "/generators/%2e%2e/bank", 422, "invalid_request"),
        ("DELETE", "/channels/c/specializations/%2e%2e", 422, "invalid_request"),
    ],
)
async def test_path_that_leads_nowhere_is_a_clear_error(
    http: httpx2.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    await _verify(http, await http.request(method, path), status, code)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/generate-lora", "POST"), ("/health/ready", "GET, HEAD"), ("/channels/c/specializations/n", "DELETE, PUT")],
)
async def test_refused_method_names_the_allowed_ones(http: httpx2.AsyncClient, path: str, allowed: str) -> None:
    assert (await http.patch(path)).headers["allow"] == allowed


async def test_request_to_a_foreign_host_or_by_a_foreign_page_is_refused(http: httpx2.AsyncClient) -> None:
    """A page whose name points at this machine could read every answer otherwise."""
    await _verify(http, await http.get("/generators", headers={"host": "evil.example"}), 421, "host_not_allowed")
    foreign = await http.get("/generators", headers={"origin": "http://evil.example"})
    await _verify(http, foreign, 403, "origin_not_allowed")


async def test_nobody_is_redirected(http: httpx2.AsyncClient) -> None:
    for path in ("/generators/", "/health/live/", "/channels/c/"):
        await _verify(http, await http.get(path), 404, "not_found")


async def test_refused_body_is_counted_under_its_route(http: httpx2.AsyncClient) -> None:
    await http.post("/generate-lora", content=b" " * (limits.MAX_BODY_BYTES + 1), headers=JSON)
    counted = 'loragen_cloud_requests_total{code="body_too_large",protocol="http",route="/generate-lora"} 1.0'
    assert counted in (await http.get("/metrics")).text


@pytest.mark.parametrize("body", [{}, {"bundle_id": "short"}, {"bundle_id": 7}, {"bundle_id": "0" * 64, "more": 1}])
async def test_publishing_needs_a_bundle_id(http: httpx2.AsyncClient, body: Any) -> None:
    response = await http.put("/channels/c/specializations/n", json=body)
    await _verify(http, response, 422, "invalid_request")


async def test_publishing_an_unknown_bundle_is_not_found(http: httpx2.AsyncClient) -> None:
    response = await http.put("/channels/c/specializations/n", json={"bundle_id": "0" * 64})
    await _verify(http, response, 404, "bundle_not_found")
