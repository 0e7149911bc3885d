"""What the tests of stores share."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cloud_service.s3_server import BUCKET, S3Server
from tests.cloud_service.store_backends import BACKENDS, S3Backend, StoreBackend


@pytest.fixture(scope="session")
def s3_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for all tests."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.stop()


@pytest.fixture
def s3(s3_process: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server with an empty bucket, and the variables that say where it is."""
    s3_process.empty()
    s3_process.let_in(monkeypatch)
    return s3_process


@pytest.fixture
def every_failure_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that look for the cause of one failure after the other."""
    monkeypatch.setattr("cloud_service.store.failures._SECONDS", 0.0)


@pytest_asyncio.fixture(params=[*BACKENDS, "s3"])
async def everywhere(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreBackend]:
    """Each kind of store in turn, and one with bundles in a bucket."""
    backend: StoreBackend
    if request.param == "s3":
        request.getfixturevalue("s3")
        backend = S3Backend(tmp_path, f"s3://{BUCKET}")
    else:
        backend = BACKENDS[request.param](tmp_path)
    yield backend
    await backend.stop()
