"""The command line finds the device of its settings, whatever it listens on."""

import json
import ssl
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.config import EdgeSettings
from edge_runtime.own_device import own_device, own_url
from loragen.client.errors import ClientError
from loragen.web.errors import ConfigurationError
from tests.certificates import Authority
from tests.loopback_server import LoopbackServer, QuietHandler


class Handler(QuietHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        texts = dict.fromkeys(("version", "edge_model_id", "quantization", "channel"), "x")
        status = {**texts, "device_id": self.headers.get("authorization"), "ready": True}
        self.wfile.write(json.dumps(status).encode())


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8090"),
        ("0.0.0.0", "http://127.0.0.1:8090"),
        ("::", "http://[::1]:8090"),
        ("fd00::2", "http://[fd00::2]:8090"),
        ("edge.local", "http://edge.local:8090"),
    ],
)
def test_address_is_one_that_a_client_can_ask(host: str, url: str) -> None:
    settings = EdgeSettings(host=host)
    assert own_url(settings) == url
    with own_device(settings, url, 1.0) as device:
        assert str(device.url) == url


def test_device_behind_tls_is_trusted_by_its_certificate(tmp_path: Path) -> None:
    """Whoever it names: it is the device's own. Another one is not trusted."""
    pair, other = (Authority(tmp_path, name).own for name in ("pair", "other"))

    class TlsServer(LoopbackServer):
        def __init__(self, handler: Any) -> None:
            super().__init__(handler)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.certificate, pair.key)
            server: ThreadingHTTPServer = self._server
            server.socket = context.wrap_socket(server.socket, server_side=True)

    with TlsServer(Handler) as server:
        port = int(server.url.rpartition(":")[2])
        key: Any = "k" * 16
        for files, is_trusted in ((pair, True), (other, False)):
            settings = EdgeSettings(port=port, tls_certificate=files.certificate, tls_key=files.key, api_key=key)
            assert own_url(settings) == f"https://127.0.0.1:{port}"
            with own_device(settings, own_url(settings), 5.0) as device:
                if is_trusted:
                    assert device.status().device_id == f"Bearer {key}"
                    continue
                with pytest.raises(ClientError, match="does not answer"):
                    device.status()


def test_certificate_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    settings = EdgeSettings(tls_certificate=tmp_path / "absent.pem", tls_key=tmp_path / "absent.key")
    with pytest.raises(ConfigurationError, match="TLS_CERTIFICATE: cannot read"):
        own_device(settings, own_url(settings), 1.0)
