"""What the HTTP interface says of the device: models, status, records, metrics, schema."""

from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge_runtime.serving.schemas import ChatCompletionBody, CompletionBody
from tests.edge_runtime.fakes import without_weights
from tests.edge_runtime.serving.fake_device import BUNDLE, RecordingTelemetry
from tests.edge_runtime.serving.wire import chat


async def test_request_id_is_kept_when_it_is_harmless(client: httpx2.AsyncClient) -> None:
    for sent, kept in (("abc-123", True), ("x" * 65, False), ("a\tb", False), ("", False)):
        answer = await client.get("/health/live", headers={"X-Request-ID": sent})
        assert (answer.headers["x-request-id"] == sent) is kept


EMPTY: dict[str, Any] = {"choices": [], "functions": [], "none": None, "parallel": False, "json_schema": None}


async def test_models_say_how_their_lora_is_applied(client: httpx2.AsyncClient) -> None:
    listed = (await client.get("/v1/models")).json()
    assert listed["object"] == "list"
    base, router, late = listed["data"]
    assert (base["id"], base["state"], base["bundle_id"]) == ("org/Tiny-Edge", "base", None)
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
        "retained_delta": 0.98,
        "retained_delta_mean": 0.99,
        "agreement": None,
        "tokens_saved_per_call": None,
        "resident": True,
        "pinned": False,
        "permanent": False,
        "answer": EMPTY | {"type": "choice", "choices": ["get_weather", "none"]},
        "context_length": None,
        "residual_prompt": "",
        "recipe_id": None,
    }
    assert base["answer"] == EMPTY | {"type": "text"}
    assert (late["state"], late["answer"]) == ("pending", None)
    assert (await client.get("/v1/models/router")).json() == router
    assert (await client.get("/v1/models/org/Tiny-Edge")).json() == base
    assert (await client.get("/v1/models/base")).json() == base


async def test_status_is_the_report(client: httpx2.AsyncClient) -> None:
    report = (await client.get("/status")).json()
    assert report["device_id"] == "dev"
    assert [model["id"] for model in report["models"]] == ["org/Tiny-Edge", "router", "late"]


async def test_one_record_for_each_request_and_no_prompt_in_it(
    client: httpx2.AsyncClient, telemetry: RecordingTelemetry, capfd: pytest.CaptureFixture[str]
) -> None:
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
        assert record.fingerprint is not None
        assert without_weights(record.fingerprint) == f"merged-{BUNDLE}"
        assert (record.prompt_tokens, record.completion_tokens, record.finish_reason) == (15, 3, "stop")
        assert record.first_token_seconds is not None
        assert record.duration_seconds > 0
    assert (refused.status, refused.code, refused.model) == (404, "model_not_found", None)
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
    assert found["loragen_edge_requests_total", "/v1/chat/completions", "200", "200"] == 1
    assert found["loragen_edge_requests_total", "/v1/chat/completions", "404", "model_not_found"] == 1
    assert found["loragen_edge_tokens_total", "completion"] == 3
    assert found["loragen_edge_tokens_total", "prompt"] == 8
    assert found["loragen_edge_time_to_first_token_seconds_count", "merged"] == 1
    assert found["loragen_edge_decode_tokens_per_second_count", "merged"] == 1
    assert "nobody" not in text


async def test_openapi_describes_the_bodies(client: httpx2.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()
    for name, path in schema["paths"].items():
        error = "OllamaError" if name.startswith("/api/") else "ErrorAnswer"
        for operation in path.values():
            described = operation["responses"]["default"]["content"]["application/json"]["schema"]["$ref"]
            assert described == f"#/components/schemas/{error}"
            assert "422" not in operation["responses"], "what is refused is 400"
            assert "description" in operation or operation["tags"] == ["operation"]
    for body in (CompletionBody, ChatCompletionBody):
        for example in schema["components"]["schemas"][body.__name__]["examples"]:
            body.model_validate(example).to_request()
    answer = schema["paths"]["/v1/models"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
    assert answer["data"][0].keys() <= (await client.get("/v1/models/router")).json().keys()
    assert answer["data"][0]["answer"]["type"] == "choice"
    chat = schema["components"]["schemas"]["ChatCompletionBody"]["properties"]
    assert {"max_tokens", "max_completion_tokens"} <= chat.keys()
    assert set(schema["components"]["schemas"]) >= {"CompletionBody", "ChatCompletionBody"}


async def test_foreign_host_and_foreign_page_are_refused_and_probes_may_ask_with_head(
    client: httpx2.AsyncClient,
) -> None:
    assert (await client.get("/v1/models", headers={"host": "evil.example"})).status_code == 421
    assert (await client.get("/v1/models", headers={"origin": "http://evil.example"})).status_code == 403
    for path in ("/health/live", "/metrics", "/v1/models", "/status"):
        assert (await client.head(path)).status_code == 200, path
