"""A device with an API key, and one that pages of other sites may use."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from edge_runtime.serving.app import Front, create_app
from edge_runtime.serving.slots import SlotTable
from tests.edge_runtime.serving.fake_device import FakeDevice, RecordingTelemetry
from tests.edge_runtime.serving.wire import chat

KEY = "0123456789abcdef"
PAGE = "https://app.example"


@asynccontextmanager
async def served(slots: SlotTable, **front: Any) -> AsyncIterator[httpx2.AsyncClient]:
    app = create_app(slots, FakeDevice(), RecordingTelemetry(), Front(**front))
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {KEY}", 200),
        (f"bearer  {KEY}", 200),
        ("", 401),
        (KEY, 401),
        ("Bearer", 401),
        (f"Bearer {KEY}0", 401),
        (f"Bearer {KEY[:-1]}", 401),
        (f"Basic {KEY}", 401),
        ("Bearer \xfc\xfc", 401),
    ],
)
async def test_only_the_key_opens_the_device(slots: SlotTable, header: str, status: int) -> None:
    async with served(slots, api_key=SecretStr(KEY)) as client:
        headers = {"authorization": header.encode("latin-1")} if header else {}
        answer = await client.post("/v1/chat/completions", json=chat(), headers=headers)
        assert answer.status_code == status
        if status == 401:
            assert answer.json()["error"]["code"] == "unauthorized"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert KEY not in answer.text


@pytest.mark.parametrize(
    "path", ["/status", "/v1/models", "/metrics", "/docs", "/openapi.json", "/api/tags", "/nothing"]
)
async def test_all_but_probes_needs_the_key(slots: SlotTable, path: str) -> None:
    async with served(slots, api_key=SecretStr(KEY)) as client:
        assert (await client.get(path)).status_code == 401
        for probe in ("/health/live", "/health/ready", "/errors"):
            assert (await client.get(probe)).status_code == 200


async def test_browser_shows_the_key_as_a_password_on_the_page_alone(slots: SlotTable) -> None:
    async with served(slots, api_key=SecretStr(KEY)) as client:
        asked = await client.get("/")
        assert (asked.status_code, asked.headers["www-authenticate"]) == (401, 'Basic realm="LoRA-Gen device"')
        assert (await client.get("/", auth=("anybody", KEY))).status_code == 200
        assert (await client.get("/", headers={"authorization": f"Bearer {KEY}"})).status_code == 200
        form = {"model": "router", "prompt": "Paris?"}
        assert (await client.post("/", data=form, auth=("", KEY))).status_code == 200
        assert (await client.get("/status", auth=("anybody", KEY))).status_code == 401
        for wrong in ("", KEY[:-1], f"{KEY}0", "\xfc"):
            assert (await client.get("/", auth=("anybody", wrong))).status_code == 401
        for header in ("Basic", "Basic ***", "Basic /w=="):
            assert (await client.get("/", headers={"authorization": header})).status_code == 401


async def test_page_of_a_named_origin_may_use_the_device(slots: SlotTable) -> None:
    """It may also read why it was refused. Others get nothing."""
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}
    async with served(slots, api_key=SecretStr(KEY), cors_origins=(PAGE,)) as client:
        before = await client.options("/v1/chat/completions", headers={"origin": PAGE, **ask})
        assert before.status_code == 200
        assert before.headers["access-control-allow-origin"] == PAGE
        headers = {"origin": PAGE, "authorization": f"Bearer {KEY}"}
        answer = await client.post("/v1/chat/completions", json=chat(), headers=headers)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PAGE)
        refused = await client.post("/v1/chat/completions", json=chat(), headers={"origin": PAGE})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)
        other = {"origin": "https://evil.example"}
        assert (await client.options("/v1/chat/completions", headers={**other, **ask})).status_code == 400
        foreign = await client.post("/v1/chat/completions", json=chat(), headers={**headers, **other})
        assert foreign.status_code == 403
        assert "access-control-allow-origin" not in foreign.headers


async def test_without_a_setting_no_page_of_another_site_is_let_in(slots: SlotTable) -> None:
    async with served(slots) as client:
        answer = await client.post("/v1/chat/completions", json=chat(), headers={"origin": PAGE})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


async def test_variables_of_the_device_reach_the_template(slots: SlotTable) -> None:
    """A request's own go before them."""
    async with served(slots, template_variables={"enable_thinking": False}) as client:
        body = chat(chat_template_kwargs={"style": "brief"})
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
