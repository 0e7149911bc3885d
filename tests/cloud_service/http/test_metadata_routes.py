"""Metadata of signed channels over HTTP."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from cloud_service.bootstrap import open_cloud
from cloud_service.signing.owner import init_channel
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import FakeGenerator


@pytest_asyncio.fixture
async def signed(tmp_path: Path, generator: FakeGenerator) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a service that signs the channel `kitchen`, in which there is one specialization."""
    owned = init_channel(tmp_path / "keys", "kitchen")
    (tmp_path / "signing").mkdir()
    owned.cloud.rename(tmp_path / "signing" / "kitchen")
    settings = settings_for(tmp_path, signing_dir=tmp_path / "signing")
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as client:
        body = {"description": "Sort.", "publish": {"channel": "kitchen", "name": "mail"}}
        assert (await client.post("/generate-lora", json=body)).status_code == 200
        yield client


async def test_timestamp_is_revalidated_and_versions_stay(signed: httpx2.AsyncClient) -> None:
    timestamp = await signed.get("/channels/kitchen/metadata/timestamp.json")
    assert (timestamp.status_code, timestamp.headers["cache-control"]) == (200, "no-cache")
    known = {"if-none-match": timestamp.headers["etag"]}
    assert (await signed.get("/channels/kitchen/metadata/timestamp.json", headers=known)).status_code == 304
    version = json.loads(timestamp.content)["signed"]["version"]
    snapshot = await signed.get(f"/channels/kitchen/metadata/{version}.snapshot.json")
    assert "immutable" in snapshot.headers["cache-control"]
    assert (await signed.get("/channels/kitchen/metadata/1.root.json")).status_code == 200


async def test_withdrawing_signs_anew(signed: httpx2.AsyncClient) -> None:
    first = await signed.get("/channels/kitchen/metadata/timestamp.json")
    assert (await signed.delete("/channels/kitchen/specializations/mail")).status_code == 200
    second = await signed.get("/channels/kitchen/metadata/timestamp.json")
    versions = [json.loads(each.content)["signed"]["version"] for each in (first, second)]
    assert versions == sorted(set(versions))


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("kitchen/metadata/2.root.json", 404, "not_found"),
        ("kitchen/metadata/7.targets.json", 404, "not_found"),
        ("cellar/metadata/timestamp.json", 404, "channel_not_signed"),
        ("kitchen/metadata/root.json", 422, "invalid_request"),
        ("kitchen/metadata/0.root.json", 422, "invalid_request"),
        ("kitchen/metadata/1.mirrors.json", 422, "invalid_request"),
        ("kitchen/metadata/targets.0011223344556677.pem", 422, "invalid_request"),
        ("kitchen/metadata/1.root.json%00", 422, "invalid_request"),
        (f"kitchen/metadata/{'9' * 60}.targets.json", 422, "invalid_request"),
        ("Kitchen/metadata/timestamp.json", 422, "invalid_request"),
    ],
)
async def test_what_is_not_there_is_refused(signed: httpx2.AsyncClient, path: str, status: int, code: str) -> None:
    answer = await signed.get(f"/channels/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_service_without_keys_signs_nothing(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/channels/kitchen/metadata/timestamp.json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "channel_not_signed")
