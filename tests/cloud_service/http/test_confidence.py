"""`confidence`, `warnings`, `strict` and `probe` over HTTP and gRPC, for new answers and for cached ones."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx2
import pytest
import pytest_asyncio

from cloud_service.bootstrap import Cloud, open_cloud
from cloud_service.limits import MAX_PROBE_CHARS, MAX_PROBES
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as stubs
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import FakeGenerator

CONTRADICTION = [{"input": "a", "output": "x"}, {"input": "a", "output": "y"}]
PROBE = [{"input": "echo", "output": "echo"}, {"input": "ping", "output": "pong"}]
PROBED = {
    "base": {"exact_match": 0.0, "log_likelihood": -8.0},
    "specialized": {"exact_match": 0.5, "log_likelihood": -7.0},
}


@pytest_asyncio.fixture
async def generator_stub(cloud: Cloud) -> AsyncIterator[stubs.GeneratorStub]:
    port = await cloud.grpc_server.start("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield stubs.GeneratorStub(channel)
    await cloud.grpc_server.stop(1)


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


async def test_strict_refuses_what_is_not_understood_publishes_nothing_and_spoils_nothing(
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
    understood = await http.post("/generate-lora", json={"description": "Sort.", "strict": True})
    assert understood.status_code == 200


async def test_probe_compares_base_and_specialized_on_new_and_cached_answers(
    http: httpx2.AsyncClient, generator: FakeGenerator
) -> None:
    request = {"description": "Repeat."}
    plain = (await http.post("/generate-lora", json=request)).json()
    assert generator.probes == []
    probed = (await http.post("/generate-lora", json=request | {"probe": PROBE})).json()
    assert probed["probe"] == PROBED
    assert (probed["cached"], probed["id"]) == (True, plain["id"])
    assert "probe" not in (await http.post("/generate-lora", json=request)).json()


@pytest.mark.parametrize(
    "probe",
    [
        [PROBE[0]] * (MAX_PROBES + 1),
        [{"input": "a" * (MAX_PROBE_CHARS + 1), "output": ""}],
        [{"input": "a"}],
        [{"input": "a", "output": "b", "other": "c"}],
        [{"input": "word " * 30, "output": "too many tokens"}],
    ],
)
async def test_probe_beyond_its_limits_is_refused(http: httpx2.AsyncClient, probe: list[dict[str, str]]) -> None:
    response = await http.post("/generate-lora", json={"description": "Sort.", "probe": probe})
    assert response.status_code == 422
    assert response.json()["error"]["message"].startswith("probe")


async def test_probe_is_refused_before_the_model_runs_where_it_is_off(tmp_path: Path, generator: FakeGenerator) -> None:
    async with open_cloud(settings_for(tmp_path, probe=False), [generator]) as cloud, client_of(cloud) as http:
        response = await http.post("/generate-lora", json={"description": "Sort.", "probe": PROBE})
        assert (response.status_code, response.json()["error"]["code"]) == (422, "probe_disabled")
        assert "LORAGEN_CLOUD_PROBE" in response.json()["error"]["hint"]
        assert generator.prompts == []
        assert (await http.post("/generate-lora", json={"description": "Sort."})).status_code == 200


async def test_grpc_mirrors_confidence_warnings_and_probe(generator_stub: stubs.GeneratorStub) -> None:
    probe = [pb.Example(**each) for each in PROBE]
    examples = [pb.Example(**each) for each in CONTRADICTION]
    answer = await generator_stub.GenerateLora(
        pb.GenerateLoraRequest(description="Sort.", examples=examples, probe=probe, strict=True)
    )
    assert answer.confidence == 0.875
    assert [warning.code for warning in answer.warnings] == ["contradictory_examples"]
    for name, scores in PROBED.items():
        told = getattr(answer.probe, name)
        assert {"exact_match": told.exact_match, "log_likelihood": told.log_likelihood} == scores


async def test_grpc_strict_is_refused_and_null_is_absent(
    generator_stub: stubs.GeneratorStub, generator: FakeGenerator
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="NONSENSE", strict=True))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert ("loragen-error-code", "low_confidence") in [tuple(each) for each in refused.value.trailing_metadata()]
    generator.calibrated = False
    answer = await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="Other."))
    assert not answer.HasField("confidence")
    assert not answer.HasField("probe")
