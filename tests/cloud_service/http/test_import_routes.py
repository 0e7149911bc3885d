"""`POST /bundles`: a PEFT adapter as a form of two files."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cloud_service.bootstrap import open_cloud
from cloud_service.limits import MAX_BODY_BYTES, MAX_UPLOAD_BYTES
from loragen.contract.bundle import content_id, parse_bundle
from loragen.contract.peft_adapter import PeftAdapter
from tests.adapters import random_adapter
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import EDGE_DIGEST, LINEARS, FakeGenerator

ADAPTER = random_adapter(LINEARS)


async def post(http: httpx2.AsyncClient, adapter: PeftAdapter = ADAPTER, **fields: str) -> httpx2.Response:
    files = {
        "adapter_config": ("adapter_config.json", adapter.config),
        "adapter_model": ("adapter_model.safetensors", adapter.weights),
    }
    return await http.post("/bundles", files=files, data=fields)


def error(response: httpx2.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()["error"]
    return found


async def test_adapter_becomes_a_bundle_that_is_published_and_fetched(http: httpx2.AsyncClient) -> None:
    contract = '{"type": "choice", "choices": ["yes", "no"]}'
    response = await post(http, answer=contract, channel="kitchen", name="mails")
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["edge_model"] == {"id": "tiny-edge", "digest": EDGE_DIGEST}
    assert answer["modules"] == len(LINEARS)
    shown = {name: answer["answer"][name] for name in ("type", "choices", "codes")}
    assert shown == {"type": "choice", "choices": ["yes", "no"], "codes": []}
    bundle = await http.get(answer["links"]["bundle"])
    assert content_id(bundle.content) == answer["id"]
    assert len(bundle.content) == answer["bundle_bytes"]
    header = parse_bundle(bundle.content).header
    assert header.is_imported
    assert header.answer.choices == ("yes", "no")
    (entry,) = (await http.get(answer["links"]["channel"])).json()["specializations"]
    assert (entry["name"], entry["bundle_id"], entry["recipe"]) == ("mails", answer["id"], None)


async def test_same_adapter_is_the_same_bundle_and_changes_no_channel(http: httpx2.AsyncClient) -> None:
    first, second = [(await post(http, channel="kitchen", name="mails")).json() for _ in range(2)]
    assert first == second
    assert (await http.get("/channels/kitchen")).json()["version"] == 1


async def test_bundle_has_ranges_and_can_be_published_later(http: httpx2.AsyncClient) -> None:
    answer = (await post(http)).json()
    assert "channel" not in answer["links"]
    part = await http.get(answer["links"]["bundle"], headers={"range": "bytes=8-15"})
    assert (part.status_code, len(part.content)) == (206, 8)
    published = await http.put("/channels/c/specializations/n", json={"bundle_id": answer["id"]})
    assert published.status_code == 200


@pytest.mark.parametrize(
    ("adapter", "code", "named"),
    [
        (random_adapter(LINEARS, config={"use_dora": True}), "adapter_unsupported", "use_dora"),
        (random_adapter(LINEARS, config={"r": 3}), "adapter_invalid_format", "rank 3"),
        (random_adapter(LINEARS | {(0, "k"): (8, 8)}), "adapter_mismatch", "layer 0 k"),
        (random_adapter(LINEARS | {(7, "k"): (8, 4)}), "adapter_mismatch", "layer 7 k"),
        (PeftAdapter(ADAPTER.config, b"not one"), "adapter_invalid_format", "safetensors"),
        (PeftAdapter(b"{}", ADAPTER.weights), "adapter_unsupported", "peft_type"),
        (PeftAdapter(b" " * (2**20 + 1), ADAPTER.weights), "adapter_limit_exceeded", "adapter_config.json"),
    ],
)
async def test_adapter_that_is_no_bundle_is_refused_with_its_reason(
    http: httpx2.AsyncClient, adapter: PeftAdapter, code: str, named: str
) -> None:
    found = error(await post(http, adapter), 422)
    assert found["code"] == code
    assert named in found["message"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"answer": "{"}, "invalid_answer"),
        ({"answer": '{"type": "choice", "choices": ["a", "a"]}'}, "invalid_answer"),
        ({"answer": '{"type": "choice", "choices": ["caf\\u00e9", "cafe\\u0301"]}'}, "invalid_answer"),
        ({"channel": "kitchen"}, "invalid_request"),
        ({"channel": "../x", "name": "mails"}, "invalid_request"),
        ({"channel": "kitchen", "name": "base"}, "reserved_name"),
        ({"channel": "kitchen", "name": "tiny-edge"}, "reserved_name"),
        ({"generator": "other"}, "unknown_generator"),
        ({"edge_model": "other"}, "unknown_edge_model"),
    ],
)
async def test_fields_that_do_not_fit_are_refused(http: httpx2.AsyncClient, fields: dict[str, str], code: str) -> None:
    assert error(await post(http, **fields), 422)["code"] == code
    assert (await http.get("/channels/kitchen")).status_code == 404


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 422),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x", 422),
        (b"", "multipart/form-data", 400),
        (b"a=b", "application/x-www-form-urlencoded", 422),
    ],
)
async def test_body_that_is_no_such_form_is_refused(
    http: httpx2.AsyncClient, content: bytes, kind: str, status: int
) -> None:
    error(await http.post("/bundles", content=content, headers={"content-type": kind}), status)


async def test_upload_may_be_larger_than_other_bodies_up_to_its_own_limit(http: httpx2.AsyncClient) -> None:
    padded = PeftAdapter(ADAPTER.config, ADAPTER.weights + bytes(MAX_BODY_BYTES))
    assert error(await post(http, padded), 422)["code"] == "adapter_invalid_format"
    refused = await http.post("/bundles", content=b"", headers={"content-length": str(MAX_UPLOAD_BYTES + 1)})
    assert error(refused, 413)["code"] == "body_too_large"


async def test_budget_is_never_exceeded_and_loses_nothing(tmp_path: Path, generator: FakeGenerator) -> None:
    async with (
        open_cloud(settings_for(tmp_path, import_budget_bytes=6_000), [generator]) as cloud,
        client_of(cloud) as http,
    ):
        first = (await post(http)).json()
        assert first["bundle_bytes"] < 6_000
        found = error(await post(http, random_adapter(LINEARS, seed=1)), 507)
        assert found["code"] == "import_budget_used_up"
        assert (await http.get(first["links"]["bundle"])).status_code == 200
        assert (await post(http)).json() == first


async def test_form_is_in_the_documentation(http: httpx2.AsyncClient) -> None:
    operation = (await http.get("/openapi.json")).json()["paths"]["/bundles"]["post"]
    assert "multipart/form-data" in json.dumps(operation)
