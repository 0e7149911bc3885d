"""Compressed answers: long text only, and nothing whose length could tell a secret."""

import gzip
from typing import Any

import httpx2
import pytest

from cloud_service.access.scopes import RULES, Scope
from cloud_service.http.compression import COMPRESSED_CALLS, takes_gzip
from tests.cloud_service.guarded import Guarded

FIELDS = {f"property number {number}": {"type": "string"} for number in range(60)}
LONG = {"description": "Sort.", "answer": {"type": "json", "json_schema": {"type": "object", "properties": FIELDS}}}


async def _raw(http: httpx2.AsyncClient, method: str, path: str, **options: Any) -> tuple[httpx2.Response, bytes]:
    async with http.stream(method, path, **options) as answer:
        return answer, b"".join([chunk async for chunk in answer.aiter_raw()])


async def test_long_answer_is_compressed_for_who_takes_it_cached_or_not(http: httpx2.AsyncClient) -> None:
    plain = await http.post("/generate-lora", json=LONG, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    for _ in range(2):  # from the store, and from the memory of answers
        answer, data = await _raw(http, "POST", "/generate-lora", json=LONG, headers={"accept-encoding": "br, gzip"})
        assert answer.headers["content-encoding"] == "gzip"
        assert {each.strip() for each in answer.headers["vary"].lower().split(",")} == {"accept", "accept-encoding"}
        assert int(answer.headers["content-length"]) == len(data) < len(plain.content) / 2
        assert gzip.decompress(data).startswith(b'{"id":"' + plain.json()["id"].encode())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_bytes_with_an_entity_tag_are_sent_as_they_are(http: httpx2.AsyncClient, method: str) -> None:
    publish = {"publish": {"channel": "kitchen", "name": "mail"}}
    links = (await http.post("/generate-lora", json=LONG | publish)).json()["links"]
    headers = {"accept-encoding": "gzip"}
    for path in (*links.values(), "/channels/kitchen/versions/1"):
        answer = await http.request(method, path, headers=headers)
        assert "etag" in answer.headers
        assert "content-encoding" not in answer.headers
        part = await http.request(method, path, headers=headers | {"range": "bytes=0-9"})
        assert "content-encoding" not in part.headers
    octets = {"accept": "application/octet-stream", **headers}
    bundle = await http.post("/generate-lora", json=LONG, headers=octets)
    assert "content-encoding" not in bundle.headers


async def test_short_answer_and_error_are_sent_as_they_are(http: httpx2.AsyncClient) -> None:
    headers = {"accept-encoding": "gzip"}
    for body in ({"description": "Sort."}, {}):
        answer = await http.post("/generate-lora", json=body, headers=headers)
        assert "content-encoding" not in answer.headers


async def test_keys_are_sent_as_they_are_however_many(guarded: Guarded) -> None:
    headers = {**await guarded.key(Scope.ADMIN), "accept-encoding": "gzip"}
    for number in range(20):
        made = await guarded.http.post("/keys", json={"name": f"key {number}", "scopes": ["read"]}, headers=headers)
        assert made.json()["key"]
        assert "content-encoding" not in made.headers
    listed = await guarded.http.get("/keys", headers=headers)
    assert len(listed.content) > 3_000
    assert "content-encoding" not in listed.headers
    audit = await guarded.http.get("/audit", headers=headers)
    assert audit.headers["content-encoding"] == "gzip"
    assert len(audit.json()["entries"]) > 20


def test_only_calls_that_exist_and_have_no_secret_are_compressed() -> None:
    assert RULES.keys() >= COMPRESSED_CALLS
    assert not [call for call in COMPRESSED_CALLS if "/keys" in call or "/console" in call]


@pytest.mark.parametrize(
    ("header", "takes"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("br;q=1.0, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("identity, x-gzip-like", False),
    ],
)
def test_header_says_whether_gzip_is_taken(header: str | None, takes: bool) -> None:
    assert takes_gzip(header) is takes
