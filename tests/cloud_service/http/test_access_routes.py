"""Keys and the audit log over HTTP."""

import json
from typing import Any

import httpx2
import pytest

from cloud_service.access.scopes import Scope
from loragen.key_answers import AuditPage, KeyPage, MadeKey


async def test_key_is_shown_once_listed_rotated_and_revoked(http: httpx2.AsyncClient) -> None:
    # The first key needs none, on loopback; from then on the service asks, once it has looked.
    answer = await http.post("/keys", json={"name": "root", "scopes": ["admin"]})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    root = MadeKey.model_validate_json(answer.content)
    http.headers["authorization"] = f"Bearer {root.key}"
    body = {"name": "dev", "scopes": ["device"], "device": "dev-1", "expires_in_seconds": 60}
    made = MadeKey.model_validate_json((await http.post("/keys", json=body)).content)
    assert made.about.expires_at is not None
    assert made.key not in repr(made)
    listing = await http.get("/keys")
    assert made.key not in listing.text
    assert {key.id for key in KeyPage.model_validate_json(listing.content).keys} == {root.about.id, made.about.id}
    rotated = await http.post(f"/keys/{made.about.id}/rotate", json={"grace_seconds": 5})
    assert rotated.status_code == 201
    assert MadeKey.model_validate_json(rotated.content).about.device == "dev-1"
    assert (await http.delete(f"/keys/{made.about.id}")).json()["state"] == "revoked"
    assert (await http.delete(f"/keys/{made.about.id}")).json()["state"] == "revoked"
    entries = AuditPage.model_validate_json((await http.get("/audit")).content).entries
    assert [entry.action for entry in entries] == ["key.revoke", "key.revoke", "key.rotate", "key.create", "key.create"]
    assert all(made.key not in entry.model_dump_json() for entry in entries)
    assert entries[0].target["key"] == made.about.id


async def test_audit_is_read_page_by_page(http: httpx2.AsyncClient) -> None:
    for _ in range(3):
        await http.post("/keys", json={"name": "one", "scopes": ["admin"]})
    first = AuditPage.model_validate_json((await http.get("/audit?limit=2")).content)
    assert first.next_before == first.entries[-1].number
    rest = AuditPage.model_validate_json((await http.get(f"/audit?before={first.next_before}")).content)
    assert len(rest.entries) == 1
    assert rest.next_before is None


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "a" * 101},
        {"name": "a\nb"},
        {"name": "a\x85"},
        {"name": "moor\u202enimda"},
        {"expires_in_seconds": True},
        {"expires_in_seconds": "60"},
        {"name": "\ud800"},
        {"scopes": []},
        {"scopes": ["root"]},
        {"scopes": ["read"] * 6},
        {"scopes": ["device"]},
        {"device": "dev-1"},
        {"tenant": "A"},
        {"tenant": "a.b"},
        {"expires_in_seconds": 0},
        {"expires_in_seconds": 10**12},
        {"unknown": 1},
    ],
)
async def test_bad_key_is_refused(http: httpx2.AsyncClient, change: dict[str, Any]) -> None:
    body = json.dumps({"name": "one", "scopes": ["admin"], **change})  # escaped: half of a surrogate pair, too
    answer = await http.post("/keys", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert (await http.get("/keys")).json()["keys"] == []


@pytest.mark.parametrize("path", ["/keys?limit=0", "/keys?after=%00", "/audit?before=0", "/audit?limit=100000"])
async def test_bad_page_is_refused(http: httpx2.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 422


async def test_key_that_is_not_there_is_404(http: httpx2.AsyncClient) -> None:
    assert (await http.delete("/keys/000000000000")).status_code == 404
    assert (await http.delete("/keys/nonsense")).status_code == 422
    assert (await http.post("/keys/000000000000/rotate", json={})).status_code == 404


def test_scopes_are_the_five() -> None:
    assert list(Scope) == ["generate", "read", "publish", "device", "admin"]
