"""Fixtures of the tests of a device's way to the cloud."""

from collections.abc import AsyncIterator
from pathlib import Path

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
