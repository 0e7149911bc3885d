"""Helper: settings for the whole service, a client of it without a network, a channel in it, and a bounded wait."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2

from cloud_service.bootstrap import Cloud
from cloud_service.config import CloudSettings
from cloud_service.lora_request import LoraRequest, PublishTarget
from cloud_service.task import TaskDescription


def settings_for(directory: Path, **changes: Any) -> CloudSettings:
    """Settings that touch nothing outside of `directory`."""
    return CloudSettings(
        **({"store_url": f"sqlite:///{directory / 'store.sqlite3'}", "watch_interval_seconds": 0.05} | changes)
    )


def client_of(cloud: Cloud) -> httpx2.AsyncClient:
    """A client of the application itself."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(cloud.app), base_url="http://localhost")


async def make_bundle(http: httpx2.AsyncClient, text: str, headers: Mapping[str, str] | None = None) -> str:
    """Generate a LoRA and have its bundle made; the bundle's id."""
    made = (await http.post("/generate-lora", json={"description": text}, headers=headers)).json()
    return (await http.head(made["links"]["bundle"], headers=headers)).headers["etag"].strip('"')


async def publish_to(cloud: Cloud, channel: str) -> None:
    """Publish something to a channel; a second time it changes nothing."""
    await cloud.service.generate(LoraRequest(TaskDescription("Sort."), publish=PublishTarget(channel, "mail")))


async def eventually(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; fail after five seconds."""
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the condition never held")
