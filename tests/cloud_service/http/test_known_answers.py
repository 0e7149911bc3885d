"""The shortest way to an answer: what goes it, and what must not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import structlog
from structlog.testing import capture_logs

from cloud_service.access.scopes import Scope
from cloud_service.bootstrap import Cloud, open_cloud
from cloud_service.http.known_answers import AnswerMemory, KnownAnswer, KnownAnswers
from cloud_service.lora_request import LoraRequest
from cloud_service.service import LoraService
from cloud_service.task import TaskDescription
from tests.cloud_service.clouds import client_of, eventually, settings_for
from tests.cloud_service.fake_generator import PROBE, FakeGenerator
from tests.cloud_service.guarded import Guarded

ASKED = {"description": "Sort the mail."}


class Seen:
    """How often the service was asked, behind what is remembered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        generate = LoraService.generate

        async def counted(service: LoraService, *arguments: Any, **options: Any) -> Any:
            self.count += 1
            return await generate(service, *arguments, **options)

        monkeypatch.setattr(LoraService, "generate", counted)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(monkeypatch)


def without_time(answer: httpx2.Response) -> dict[str, Any]:
    fields: dict[str, Any] = answer.json()
    assert fields["timings"].pop("total_ms") >= 0
    return fields


async def test_same_body_again_has_the_same_answer_without_the_service(http: httpx2.AsyncClient, seen: Seen) -> None:
    answers = [await http.post("/generate-lora", json=ASKED) for _ in range(4)]
    assert seen.count == 2, "made, and then found in the store"
    assert [each.json()["cached"] for each in answers] == [False, True, True, True]
    assert without_time(answers[1]) == without_time(answers[2]) == without_time(answers[3])
    for name in ("content-type", "cache-control", "vary", "x-content-type-options"):
        assert answers[1].headers[name] == answers[3].headers[name]
    assert answers[1].headers["x-request-id"] != answers[3].headers["x-request-id"]
    metrics = (await http.get("/metrics")).text
    assert 'loragen_cloud_generations_total{source="cache"} 3.0' in metrics
    assert 'loragen_cloud_requests_total{code="200",protocol="http",route="/generate-lora"} 4.0' in metrics


async def test_log_says_the_same_of_a_known_answer_as_of_one_from_the_store(http: httpx2.AsyncClient) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logged:
        for _ in range(4):
            await http.post("/generate-lora", json=ASKED)
    records = [record for record in logged if record["event"] == "request"]
    for record in records:
        assert record.pop("duration_seconds") >= 0
        record.pop("request_id")
    made, found, *known = records
    assert known == [found, found]
    assert found["lora_id"] == made["lora_id"]
    assert (made["cached"], found["cached"]) == (False, True)


@asynccontextmanager
async def _filled(cloud: Cloud, generator: FakeGenerator) -> AsyncIterator[None]:
    """The only place of a service is taken."""
    (served,) = cloud.service.catalog
    generator.gate.clear()
    waiting = [asyncio.create_task(cloud.service.generate(LoraRequest(TaskDescription("running"))))]
    await eventually(lambda: served.runner.running_seconds > 0)
    waiting.append(asyncio.create_task(cloud.service.generate(LoraRequest(TaskDescription("waiting")))))
    await eventually(lambda: cloud.service.is_full)
    try:
        yield
    finally:
        generator.gate.set()
        await asyncio.gather(*waiting)


@pytest_asyncio.fixture
async def full(tmp_path: Path, generator: FakeGenerator) -> AsyncIterator[httpx2.AsyncClient]:
    """A service with one place, which is taken; one answer is in its store."""
    settings = settings_for(tmp_path, max_queue=1, max_batch=1, max_delay_seconds=0)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as client:
        assert (await client.post("/generate-lora", json=ASKED)).status_code == 200
        async with _filled(cloud, generator):
            yield client


async def test_full_service_refuses_before_the_route(full: httpx2.AsyncClient, seen: Seen) -> None:
    response = await full.post("/generate-lora", json={"description": "one too many"})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "overloaded")
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert seen.count == 0
    metrics = (await full.get("/metrics")).text
    assert "loragen_cloud_rejections_total 1.0" in metrics
    assert 'loragen_cloud_requests_total{code="overloaded",protocol="http",route="/generate-lora"} 1.0' in metrics


async def test_full_service_answers_what_it_needs_no_place_for(full: httpx2.AsyncClient, seen: Seen) -> None:
    """An answer that is stored, one that is being made, and what is wrong with a request."""
    stored = await full.post("/generate-lora", json=ASKED)
    assert (stored.status_code, stored.json()["cached"]) == (200, True)
    assert seen.count == 1, "it was not in the memory yet"
    made = asyncio.create_task(full.post("/generate-lora", json={"description": "waiting"}))
    await asyncio.sleep(0.1)
    assert not made.done(), "it waits for the one that is being made"
    made.cancel()
    for content, code in ((b"{", "malformed_body"), (b'{"descriptoin": ""}', "invalid_request")):
        response = await full.post("/generate-lora", content=content, headers={"content-type": "application/json"})
        assert response.json()["error"]["code"] == code
    unknown = await full.post("/generate-lora", json={"description": "a", "generator": "none"})
    assert unknown.status_code == 422


async def test_full_service_asks_nobody_to_come_back_who_would_be_refused_then(
    tmp_path: Path, generator: FakeGenerator
) -> None:
    """And such a request takes no time at which another could come back."""
    settings = settings_for(
        tmp_path, max_queue=1, max_batch=1, max_delay_seconds=0, authentication="keys", generations_per_day=1
    )
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as client:
        guarded = Guarded(cloud, client)
        spent, fresh = [await guarded.key(Scope.GENERATE, tenant=tenant) for tenant in ("acme", "zeta")]
        assert (await client.post("/generate-lora", json=ASKED, headers=spent)).status_code == 200
        long = {"description": "word " * 400}
        published = {"description": "new", "publish": {"channel": "zeta.a", "name": "mail"}}
        async with _filled(cloud, generator):
            for body, key, status, code in (
                ({"description": "new"}, spent, 429, "quota_used_up"),
                (long, fresh, 422, "prompt_too_long"),
                (published, fresh, 403, "missing_scope"),
            ):
                response = await client.post("/generate-lora", json=body, headers=key)
                assert (response.status_code, response.json()["error"]["code"]) == (status, code)
            metrics = await client.get("/metrics", headers=await guarded.key(Scope.READ))
            assert "loragen_cloud_rejections_total 0.0" in metrics.text
            refused = await client.post("/generate-lora", json={"description": "new"}, headers=fresh)
            assert refused.json()["error"]["code"] == "overloaded"
            cloud.service.drain()
            refused = await client.post("/generate-lora", json={"description": "newer"}, headers=fresh)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")


async def test_another_body_accept_or_content_type_is_another_question(http: httpx2.AsyncClient, seen: Seen) -> None:
    for _ in range(3):
        await http.post("/generate-lora", json=ASKED)
    assert (await http.post("/generate-lora", json=ASKED | {"include": ["gates"]})).json()["gates"]
    binary = await http.post("/generate-lora", json=ASKED, headers={"accept": "application/octet-stream"})
    assert binary.headers["content-type"] == "application/octet-stream"
    plain = await http.post("/generate-lora", json=ASKED, headers={"content-type": "text/plain"})
    assert plain.status_code == 415
    assert (await http.post("/generate-lora?x=1", json=ASKED)).status_code == 200
    assert seen.count == 5


@pytest.mark.parametrize(
    "more",
    [
        {"publish": {"channel": "kitchen", "name": "mail"}},
        {"probe": PROBE},
        {"examples": PROBE, "probe_examples": True},
    ],
)
async def test_what_does_more_than_answer_is_done_each_time(
    more: dict[str, Any], http: httpx2.AsyncClient, seen: Seen
) -> None:
    for _ in range(4):
        assert (await http.post("/generate-lora", json=ASKED | more)).status_code == 200
    assert seen.count == 4


async def test_refused_request_is_refused_again(http: httpx2.AsyncClient) -> None:
    asked = {"description": "NONSENSE", "strict": True}
    for _ in range(4):
        assert (await http.post("/generate-lora", json=asked)).json()["error"]["code"] == "low_confidence"


async def test_tenants_do_not_share_what_is_remembered(guarded: Guarded, generator: FakeGenerator) -> None:
    keys = [await guarded.key(Scope.GENERATE, tenant=tenant) for tenant in ("acme", "zeta", "")]
    for key in keys:
        answers = [await guarded.http.post("/generate-lora", json=ASKED, headers=key) for _ in range(3)]
        assert [each.json()["cached"] for each in answers] == [False, True, True]
        assert answers[2].headers["cache-control"] == "no-store"
    assert len(generator.prompts) == 3
    assert (await guarded.http.post("/generate-lora", json=ASKED)).status_code == 401


def answer_of(size: int) -> KnownAnswer:
    return KnownAnswer(b"x" * size, b"", {})


def test_memory_forgets_what_is_old_and_what_was_not_used() -> None:
    now = 100.0
    memory = AnswerMemory(lambda: now, most_bytes=2 * answer_of(5_000).size)
    memory.remember(b"a", answer_of(5_000))
    memory.remember(b"b", answer_of(5_000))
    assert memory.find(b"a") is not None
    memory.remember(b"c", answer_of(5_000))
    assert [memory.find(asked) is not None for asked in (b"a", b"b", b"c")] == [True, False, True]
    memory.remember(b"c", answer_of(1))
    assert memory.find(b"a") is not None
    now += 3
    assert memory.find(b"a") is None


def test_memory_takes_no_answer_that_is_very_long() -> None:
    memory = AnswerMemory()
    memory.remember(b"a", answer_of(1_000_000))
    assert memory.find(b"a") is None


async def test_poll_of_what_has_changed_or_is_not_there_goes_the_whole_way(
    http: httpx2.AsyncClient, cloud: Cloud
) -> None:
    body = {"bundle_id": (await http.post("/generate-lora", json=ASKED)).json()["id"]}
    first = (await http.put("/channels/c/specializations/a", json=body)).headers["etag"]
    assert (await http.get("/channels/c", headers={"if-none-match": first})).status_code == 304
    second = (await http.put("/channels/c/specializations/b", json=body)).headers["etag"]
    changed = await http.get("/channels/c", headers={"if-none-match": first})
    assert (changed.status_code, changed.headers["etag"]) == (200, second)
    same = await http.get("/channels/c", headers={"if-none-match": second})
    assert (same.status_code, same.content) == (304, b"")
    both = {"if-none-match": second, "if-match": '"other"'}
    assert (await http.get("/channels/c", headers=both)).status_code == 412
    assert (await http.head("/channels/c", headers={"if-none-match": second})).status_code == 304
    for path, status in (("/channels/none", 404), ("/channels/A", 422), ("/channels/a..b", 422)):
        assert (await http.get(path, headers={"if-none-match": second})).status_code == status


async def test_poll_needs_its_key(guarded: Guarded) -> None:
    poll = {"if-none-match": '"x"'}
    assert (await guarded.http.get("/channels/c", headers=poll)).status_code == 401
    other = await guarded.key(Scope.READ, tenant="acme")
    assert (await guarded.http.get("/channels/c", headers=poll | other)).status_code == 404


async def test_connection_that_is_no_request_passes() -> None:
    passed: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope)

    known: Any = KnownAnswers(app, AnswerMemory(), lambda: None, lambda channel: None, "no-cache", lambda body: None)
    await known({"type": "lifespan"}, None, None)
    assert passed == [{"type": "lifespan"}]
