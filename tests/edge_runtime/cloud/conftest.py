"""Fixtures of the tests of a device's way to the cloud."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from edge_runtime.cloud.fetcher import HttpFetcher
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.signed_repository import Signed


@pytest.fixture
async def signed(cloud: FakeCloud, tmp_path: Path) -> AsyncIterator[Signed]:
    """A cloud with a signed channel, and a device that follows it."""
    async with httpx2.AsyncClient(base_url=cloud.url, timeout=5.0) as client:
        yield Signed(cloud, HttpFetcher(client, 30.0, lambda: 0.0), tmp_path / "trust")


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Moves the clock by which TUF's client judges expiry."""

    def move(by: timedelta) -> None:
        class Moved(datetime):
            @classmethod
            def now(cls, tz=None):  # type: ignore[no-untyped-def]
                return datetime.now(tz or UTC) + by

        monkeypatch.setattr(
            "tuf.ngclient._internal.trusted_metadata_set.datetime",
            SimpleNamespace(datetime=Moved, timezone=SimpleNamespace(utc=UTC)),
        )

    return move
