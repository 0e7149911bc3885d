"""`POST /generate-lora`: what a client gets for a good request, and how the answer goes over the wire."""

import asyncio
import json
from typing import Any

import httpx2
import numpy as np
import pytest
from structlog.testing import capture_logs

from cloud_service.confidence import DescriptionWarning
from cloud_service.generation import Confidence, EdgeScores
from cloud_service.http.generation_routes import generated
from cloud_service.lora_request import GeneratedLora, StageSeconds
from cloud_service.probing import ProbeComparison
from cloud_service.store import StoredLora
from loragen.contract.bundle import content_id, parse_bundle
from loragen.contract.recipe import Recipe, parse_recipe
from tests.cloud_service.fake_generator import CHOICE, CHOOSE, FakeGenerator

CONTRADICTION = [{"input": "a", "output": "x"}, {"input": "a", "output": "y"}]
REQUEST = {
    "description": "Sort each mail.",
    "examples": [{"input": "Where is my parcel?", "output": "delivery"}],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "find_order",
                "description": "Finds an order.",
                "parameters": {"type": "object", "properties": {"number": {"type": "string"}, "year": {}}},
                "strict": True,
            },
        }
    ],
    "output_format": "one word",
}


async def test_answer_carries_ids_sizes_gates_savings_timings_and_links(
    http: httpx2.AsyncClient, generator: FakeGenerator
) -> None:
    response = await http.post("/generate-lora", json={**REQUEST, "include": ["gates"]})
    assert response.status_code == 200
    answer = response.json()
    assert not answer["cached"]
    assert answer["generator"] == {"id": "fake", "digest": generator.info.digest}
    assert answer["edge_model"] == {"id": "tiny-edge", "digest": generator.info.edge_model_digest}
    assert answer["tokens_saved_per_call"] == answer["prompt_tokens"] > 10
    assert answer["residual_prompt"] == ""
    assert answer["timings"]["total_ms"] >= answer["timings"]["generate_ms"] > 0
    assert "channel" not in answer["links"]

    bundle = (await http.get(answer["links"]["bundle"])).content
    recipe = (await http.get(answer["links"]["recipe"])).content
    assert len(bundle) == answer["bundle_bytes"]
    assert (content_id(recipe), len(recipe)) == (answer["recipe_id"], answer["recipe_bytes"])
    publish = {"channel": "kitchen", "name": "mail"}
    published = (await http.post("/generate-lora", json={**REQUEST, "publish": publish})).json()
    assert published["id"] == content_id(bundle), "a request that needs the bundle is answered with its id"
    assert published["recipe_id"] == answer["recipe_id"] == answer["id"]
    assert np.allclose(parse_recipe(recipe).gates, answer["gates"], atol=1e-4)
    assert parse_bundle(bundle).header.generator_digest == generator.info.digest


EMPTY: dict[str, Any] = {
    "choices": [],
    "codes": [],
    "json_schema": None,
    "functions": [],
    "none": None,
    "parallel": False,
}
DAYS = {"minimum": 1, "type": "integer"}
CITY = {"properties": {"city": {"type": "string"}, "days": DAYS}, "required": ["city"], "type": "object"}
SHOWN = CITY | {"title": "Weather", "properties": {**CITY["properties"], "days": {**DAYS, "title": "Days"}}}  # type: ignore[dict-item]
FUNCTIONS = [{"name": "weather", "parameters": CITY}, {"name": "stop", "parameters": None}]


@pytest.mark.parametrize(
    "task",
    [
        {
            "tools": [
                {"type": "function", "function": {"name": "weather", "description": None, "parameters": SHOWN}},
                {"type": "function", "function": {"name": "stop", "parameters": None}},
            ]
        },
        {"functions": [{"name": "weather", "parameters": SHOWN}, {"name": "stop"}]},
        {"tools": [{"type": "function", "name": "weather", "strict": True, "parameters": SHOWN}, {"name": "stop"}]},
        {"tools": [{"name": "weather", "description": "x", "input_schema": SHOWN}, {"name": "stop"}]},
        {"tools": [{"name": "weather", "title": "W", "inputSchema": SHOWN}, {"name": "stop", "inputSchema": {}}]},
        {
            "description": "x",
            "answer": {"type": "tool_calls", "functions": [{"name": "weather", "parameters": SHOWN}, {"name": "stop"}]},
        },
    ],
)
async def test_tools_of_any_maker_become_calls(http: httpx2.AsyncClient, task: dict[str, Any]) -> None:
    """With codes for their names, and with what a device enforces of their schemas."""
    response = await http.post("/generate-lora", json=task | {"output_format": None, "examples": None})
    answer = response.json()["answer"]
    assert answer == EMPTY | {"type": "tool_calls", "functions": FUNCTIONS, "codes": [7, 5]}
    header = parse_bundle((await http.get(response.json()["links"]["bundle"])).content).header
    assert list(json.loads(header.answer.functions[0].parameters)["properties"]) == ["city", "days"]


@pytest.mark.parametrize(
    "task",
    [
        {"output_format": {"type": "json_schema", "json_schema": {"name": "w", "schema": SHOWN}}},
        {"output_format": {"type": "json_schema", "name": "w", "schema": SHOWN}},
        {"output_format": SHOWN},
        {"answer": {"type": "json", "json_schema": SHOWN}},
    ],
)
async def test_output_format_may_be_a_schema(http: httpx2.AsyncClient, task: dict[str, Any]) -> None:
    examples = [{"input": "Oslo, two days", "output": {"city": "Oslo", "days": 2}}]
    answer = (await http.post("/generate-lora", json=task | {"examples": examples})).json()["answer"]
    assert answer == EMPTY | {"type": "json", "json_schema": CITY}


async def test_output_that_is_json_becomes_text(http: httpx2.AsyncClient, generator: FakeGenerator) -> None:
    outputs = [{"größe": [1, 2.5]}, 7, "7", True]
    examples = [{"input": "x", "output": output} for output in outputs]
    await http.post("/generate-lora", json={"examples": examples, "output_format": {"größe": "list"}})
    (prompt,) = generator.prompts
    assert 'Output: {"größe": [1, 2.5]}' in prompt
    assert prompt.count("Output: 7") == 2
    assert 'Output format: {"größe": "list"}' in prompt


async def test_schema_that_does_not_fit_a_contract_is_refused(http: httpx2.AsyncClient) -> None:
    values = [{"enum": [f"{number}-{'ü' * 190}-{each}" for each in range(4)]} for number in range(20)]
    wide = {"type": "object", "properties": {f"p{number}": value for number, value in enumerate(values)}}
    tools = [{"name": f"f{number}", "parameters": wide} for number in range(8)]
    response = await http.post("/generate-lora", json={"tools": tools})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_request")
    assert "answer: expected at most" in response.json()["error"]["message"]


async def test_gates_come_only_when_asked_for_and_never_where_all_are_zero(http: httpx2.AsyncClient) -> None:
    asked = {"include": ["gates"]}
    assert "gates" not in (await http.post("/generate-lora", json=REQUEST)).json()
    assert "gates" in (await http.post("/generate-lora", json=REQUEST | asked)).json()
    assert "gates" not in (await http.post("/generate-lora", json={"description": CHOOSE} | asked)).json()


async def test_answer_says_what_answers_may_look_like(http: httpx2.AsyncClient) -> None:
    text = (await http.post("/generate-lora", json=REQUEST)).json()
    assert text["answer"] == EMPTY | {"type": "text"}
    choice = (await http.post("/generate-lora", json={"description": CHOOSE})).json()
    assert choice["answer"] == EMPTY | {"type": "choice", "choices": ["billing", "dëlivery"], "codes": [7, 5]}
    bundle = parse_bundle((await http.get(choice["links"]["bundle"])).content)
    assert bundle.header.answer == CHOICE


async def test_residual_prompt_is_reported_and_its_tokens_are_not_saved(
    http: httpx2.AsyncClient, generator: FakeGenerator
) -> None:
    """In new and cached answers, and the bundle has it. Tools and codes keep none, nor does a longer text."""
    generator.residual_prompt_words = 4
    request = {"description": "Find the city.", "examples": REQUEST["examples"], "output_format": "Word"}
    for _ in range(2):
        answer = (await http.post("/generate-lora", json=request)).json()
        assert answer["residual_prompt"] == "Find the city.\nWord"
        assert answer["tokens_saved_per_call"] == answer["prompt_tokens"] - 4 > 5
    header = parse_bundle((await http.get(answer["links"]["bundle"])).content).header
    assert (header.residual_prompt, header.residual_prompt_tokens) == ("Find the city.\nWord", 4)
    for other in (REQUEST, {"description": CHOOSE}, {"description": "Find the name of the city."}):
        answer = (await http.post("/generate-lora", json=other)).json()
        assert (answer["residual_prompt"], answer["tokens_saved_per_call"]) == ("", answer["prompt_tokens"])


async def test_prompt_holds_every_part_of_the_request(http: httpx2.AsyncClient, generator: FakeGenerator) -> None:
    await http.post("/generate-lora", json=REQUEST)
    (prompt,) = generator.prompts
    for part in (
        "Sort each mail.",
        "Where is my parcel?",
        "find_order(number: string, year)",
        "Finds an order.",
        "one word",
    ):
        assert part in prompt


async def test_equal_request_is_cached_whatever_its_white_space(http: httpx2.AsyncClient) -> None:
    first = (await http.post("/generate-lora", json=REQUEST)).json()
    second = (await http.post("/generate-lora", json=REQUEST | {"description": " Sort each mail.\n"})).json()
    assert second["cached"]
    assert {**second, "cached": False, "timings": None} == {**first, "timings": None}


async def test_concurrent_equal_requests_generate_once(http: httpx2.AsyncClient, generator: FakeGenerator) -> None:
    responses = await asyncio.gather(*(http.post("/generate-lora", json=REQUEST) for _ in range(10)))
    assert {response.json()["id"] for response in responses} == {responses[0].json()["id"]}
    assert len(generator.prompts) == 1


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/octet-stream", "application/octet-stream"),
        ("application/json;q=0.1, application/octet-stream", "application/octet-stream"),
        ("application/*;q=0.5, application/json;q=0", "application/octet-stream"),
    ],
)
async def test_accept_chooses_between_answer_and_bundle(http: httpx2.AsyncClient, accept: str, media_type: str) -> None:
    response = await http.post("/generate-lora", json=REQUEST, headers={"accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"] == media_type
    if media_type == "application/octet-stream":
        assert response.headers["etag"] == f'"{content_id(response.content)}"'
        assert response.headers["content-location"] == f"/bundles/{content_id(response.content)}"


async def test_accept_of_something_else_is_refused_before_the_model_runs(
    http: httpx2.AsyncClient, generator: FakeGenerator
) -> None:
    response = await http.post("/generate-lora", json=REQUEST, headers={"accept": "text/html"})
    assert response.status_code == 406
    assert response.json()["error"]["code"] == "not_acceptable"
    assert generator.batches == []


async def test_publish_in_the_request_publishes_the_bundle(http: httpx2.AsyncClient) -> None:
    publish = {"channel": "kitchen", "name": "mail"}
    answer = (await http.post("/generate-lora", json=REQUEST | {"publish": publish})).json()
    channel = (await http.get(answer["links"]["channel"])).json()
    assert [(entry["name"], entry["bundle_id"]) for entry in channel["specializations"]] == [("mail", answer["id"])]


async def test_description_may_be_empty_when_examples_or_tools_say_the_task(http: httpx2.AsyncClient) -> None:
    for part in ("examples", "tools"):
        assert (await http.post("/generate-lora", json={part: REQUEST[part]})).status_code == 200


async def test_log_record_has_ids_and_times_and_no_content(http: httpx2.AsyncClient) -> None:
    with capture_logs() as records:
        await http.post("/generate-lora", json=REQUEST, headers={"x-request-id": "abc-1"})
        await http.post("/generate-lora", json={"description": "CRASH secret"})
    record = next(record for record in records if record["event"] == "request")
    assert record["status"] == 200
    assert record["duration_seconds"] > 0
    text = repr(records)
    for secret in ("Sort each mail", "parcel", "find_order", "one word", "secret", "delivery"):
        assert secret not in text


async def test_metrics_count_requests_batches_and_cache_hits(http: httpx2.AsyncClient) -> None:
    for _ in range(3):
        await http.post("/generate-lora", json=REQUEST)
    metrics = (await http.get("/metrics")).text
    for line in (
        'loragen_cloud_requests_total{code="200",protocol="http",route="/generate-lora"} 3.0',
        'loragen_cloud_generations_total{source="cache"} 2.0',
        'loragen_cloud_generations_total{source="model"} 1.0',
        "loragen_cloud_batch_size_sum 1.0",
        "loragen_cloud_queue_depth 0.0",
        "loragen_cloud_queue_seconds_count 1.0",
        "loragen_cloud_generate_seconds_count 1.0",
        "loragen_cloud_assemble_seconds_count 0.0",
        "loragen_cloud_rejections_total 0.0",
    ):
        assert line in metrics.splitlines()


async def test_generators_are_listed_with_what_a_client_must_know(
    http: httpx2.AsyncClient, generator: FakeGenerator
) -> None:
    (entry,) = (await http.get("/generators")).json()["generators"]
    assert entry["id"] == "fake"
    assert entry["default"]
    assert entry["max_prompt_tokens"] == generator.info.max_prompt_tokens
    assert entry["bank"] == {
        "digest": generator.bank.digest,
        "bytes": len(generator.bank.data),
        "link": "/generators/fake/bank",
    }


@pytest.mark.parametrize(
    ("text", "confidence", "codes"),
    [("Sort.", 0.875, []), ("NONSENSE", 0.125, ["low_confidence"]), ("FAR off", 0.875, ["far_from_training"])],
)
async def test_answer_tells_confidence_and_warnings_cached_or_not(
    http: httpx2.AsyncClient, text: str, confidence: float, codes: list[str]
) -> None:
    for cached in (False, True):
        answer = (await http.post("/generate-lora", json={"description": text})).json()
        assert answer["cached"] is cached
        assert answer["confidence"] == confidence
        assert [warning["code"] for warning in answer["warnings"]] == codes
        assert "probe" not in answer


async def test_contradictory_examples_are_warned_of_cached_or_not(http: httpx2.AsyncClient) -> None:
    for _ in range(2):
        answer = (await http.post("/generate-lora", json={"examples": CONTRADICTION})).json()
        assert [warning["code"] for warning in answer["warnings"]] == ["contradictory_examples"]


async def test_generator_without_calibration_answers_null_and_refuses_strict(
    http: httpx2.AsyncClient, generator: FakeGenerator
) -> None:
    generator.calibrated = False
    for _ in range(2):
        answer = (await http.post("/generate-lora", json={"description": "Sort."})).json()
        assert answer["confidence"] is None
        assert answer["warnings"] == []
    refused = await http.post("/generate-lora", json={"description": "Sort.", "strict": True})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "generator_not_calibrated")


async def test_strict_refuses_low_confidence_publishes_nothing_and_spoils_nothing(
    http: httpx2.AsyncClient, generator: FakeGenerator
) -> None:
    request = {"description": "NONSENSE", "publish": {"channel": "kitchen", "name": "mail"}}
    for _ in range(2):
        refused = await http.post("/generate-lora", json=request | {"strict": True})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "low_confidence")
        assert refused.json()["error"]["hint"]
    assert (await http.get("/channels/kitchen")).status_code == 404
    answer = await http.post("/generate-lora", json=request)
    assert answer.status_code == 200
    assert (answer.json()["cached"], len(generator.prompts)) == (True, 1)
    confident = await http.post("/generate-lora", json={"description": "Sort.", "strict": True})
    assert confident.status_code == 200


RECIPE = Recipe("fake", "0" * 64, "1" * 64, "tiny-edge", "2" * 64, 12, np.full((1, 1, 2), 1 / 3, np.float32))


def _answer(**changes: object) -> Any:
    values: dict[str, object] = {
        "lora": StoredLora("b" * 64, b"recipe", 1000, "a" * 64),
        "recipe": RECIPE,
        "cached": False,
        "timings": StageSeconds(0.0011119, 0.5, 0.0, 0.6),
        "confidence": None,
        "warnings": (),
        "probe": None,
        "channel": None,
        "bundle": None,
    }
    answer = GeneratedLora(**(values | changes))  # type: ignore[arg-type]
    return json.loads(generated(answer, with_gates=True).model_dump_json())


def test_numbers_are_rounded_for_reading() -> None:
    answer = _answer(confidence=Confidence(0.123456, is_familiar=True))
    assert answer["gates"] == [[[0.3333, 0.3333]]]
    assert answer["confidence"] == 0.1235
    assert answer["timings"] == {"queue_ms": 1.112, "generate_ms": 500.0, "assemble_ms": 0.0, "total_ms": 600.0}


def test_parts_that_were_not_asked_for_are_absent() -> None:
    answer = _answer()
    assert answer["confidence"] is None
    assert "probe" not in answer
    assert answer["links"] == {
        "bundle": f"/bundles/{'a' * 64}",
        "recipe": f"/recipes/{'b' * 64}",
        "bank": "/generators/fake/bank",
    }


def test_warnings_probe_and_channel_are_included() -> None:
    comparison = ProbeComparison(EdgeScores((False,), -8.00004), EdgeScores((True,), -0.5))
    answer = _answer(warnings=(DescriptionWarning("low_confidence", "message"),), probe=comparison, channel="kitchen")
    assert answer["warnings"] == [{"code": "low_confidence", "message": "message"}]
    assert answer["probe"] == {
        "base": {"exact_match": 0.0, "log_likelihood": -8.0},
        "specialized": {"exact_match": 1.0, "log_likelihood": -0.5},
    }
    assert answer["links"]["channel"] == "/channels/kitchen"
