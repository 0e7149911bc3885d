"""Keys and the audit log over the client, against a service that asks for keys."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from cloud_service.access.key_service import KeyRequest
from cloud_service.access.scopes import Scope
from cloud_service.bootstrap import Cloud, open_cloud
from loragen import AsyncCloudClient, RemoteError
from tests.cloud_service.clouds import settings_for
from tests.cloud_service.fake_generator import FakeGenerator
from tests.loragen.client.scripted import Scripted


@pytest_asyncio.fixture
async def service(tmp_path: Path, generator: FakeGenerator) -> AsyncIterator[Cloud]:
    async with open_cloud(settings_for(tmp_path, authentication="keys"), [generator]) as cloud:
        yield cloud


def _client(service: Cloud, key: str) -> AsyncCloudClient:
    return AsyncCloudClient("http://localhost", api_key=key, transport=httpx2.ASGITransport(service.app))


async def test_key_is_made_used_rotated_and_revoked(service: Cloud) -> None:
    root, _ = await service.access.keys.create(KeyRequest("root", (Scope.ADMIN,)))
    async with _client(service, root) as admin:
        made = await admin.create_key("phone", ["read"], tenant="acme", expires_in_seconds=60)
        assert (made.about.name, made.about.scopes, made.about.tenant) == ("phone", ("read",), "acme")
        assert made.about.expires_at is not None
        assert made.key not in repr(made), "the secret is in no log"
        async with _client(service, made.key) as phone:
            used = await phone.usage()
            assert (used.tenant, used.today) == ("acme", {})
            assert (used.stored["channels"].used, used.stored["channels"].most) == (0, 1_000)
            assert (await phone.channels()).channels == ()
            with pytest.raises(RemoteError) as forbidden:
                await phone.create_key("more", ["admin"])
            assert forbidden.value.status == 403
        newer = await admin.rotate_key(made.about.id, grace_seconds=0)
        assert newer.about.id != made.about.id
        assert (await admin.revoke_key(newer.about.id)).state == "revoked"
        states = {key.id: key.state for key in (await admin.keys()).keys}
        assert states[newer.about.id] == "revoked"
        assert (await admin.keys(after=max(states))).keys == ()
        entries = (await admin.audit()).entries
        assert {"key.create", "key.rotate", "key.revoke"} <= {entry.action for entry in entries}
        assert {entry.key_name for entry in entries if entry.action == "key.revoke"} == {"root"}
        oldest = min(entry.number for entry in entries)
        assert (await admin.audit(before=oldest)).entries == ()


async def test_key_is_not_made_twice_by_a_call_that_is_repeated() -> None:
    transport = Scripted(httpx2.ReadTimeout("no answer"))
    async with AsyncCloudClient("http://cloud", transport=transport) as cloud:
        with pytest.raises(RemoteError):
            await cloud.create_key("phone", ["read"])
    assert len(transport.requests) == 1
