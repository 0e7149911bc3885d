"""The service with TLS and keys: HTTP, gRPC, the client and the device's connections."""

import os
import shutil
from pathlib import Path

import httpx2
import pytest

from cloud_service.config import CloudSettings
from edge_runtime.cloud.api_key import FixedKey
from edge_runtime.cloud.rpc import GrpcLink
from edge_runtime.cloud.tls import grpc_credentials
from loragen import AsyncCloudClient
from loragen.web.errors import ConfigurationError
from loragen.web.tls import client_context
from tests.certificates import Authority
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.test_server import running
from tests.edge_runtime.cloud.test_tls import edge_settings


async def test_mutual_tls_over_http_and_grpc(tmp_path: Path, generator: FakeGenerator) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    server, client = authority.sign("server"), authority.sign("client")
    options = {"tls_certificate": server.certificate, "tls_key": server.key, "tls_client_ca": authority.file}
    async with running(tmp_path, generator, **options) as process:
        url = process.url.replace("http:", "https:")
        context = client_context(authority.file, client.certificate, client.key)
        async with AsyncCloudClient(url, tls=context) as cloud:
            answer = await cloud.generate("Sort.", publish="kitchen/mail")
            assert answer.id
        for refused in (client_context(authority.file), client_context(stranger.file, client.certificate, client.key)):
            async with httpx2.AsyncClient(base_url=url, verify=refused) as http:
                with pytest.raises(httpx2.TransportError):
                    await http.get("/health/live")
        async with httpx2.AsyncClient(base_url=process.url) as http:
            with pytest.raises(httpx2.TransportError):
                await http.get("/health/live")

        credentials = grpc_credentials(edge_settings(url, authority, client))
        link = GrpcLink(process.grpc_address, "kitchen", "dev-1", credentials=credentials)
        assert await link.watch(0)
        await link.close()
        without = GrpcLink(process.grpc_address, "kitchen", "dev-1", key=FixedKey(None))
        assert not await without.watch(0)
        await without.close()

        # A new pair of another authority, in place: who trusts the old one does not get in any more.
        other = stranger.sign("other")
        shutil.copy(other.certificate, server.certificate)
        shutil.copy(other.key, server.key)
        for path in (server.certificate, server.key):
            os.utime(path, ns=(1, 1))
        link = GrpcLink(process.grpc_address, "kitchen", "dev-1", credentials=credentials)
        assert not await link.watch(0)
        await link.close()


@pytest.mark.parametrize(
    "fields", [{"tls_certificate": "a"}, {"tls_key": "a"}, {"tls_client_ca": "a"}], ids=["cert", "key", "ca"]
)
def test_half_of_tls_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        CloudSettings(**fields)  # type: ignore[arg-type]


async def test_certificate_that_is_not_there_stops_the_start(tmp_path: Path, generator: FakeGenerator) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(ConfigurationError, match="TLS"):
        async with running(tmp_path, generator, tls_certificate=absent, tls_key=absent):
            pass
