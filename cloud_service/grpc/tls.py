"""TLS of the gRPC server, from the files that HTTP uses too.

Here the files are looked at before each handshake, those of the trusted clients too.
"""

from collections.abc import Callable
from typing import Any

import grpc

from loragen.web.errors import ConfigurationError
from loragen.web.log_limit import LogLimit
from loragen.web.tls import TlsFiles, log_not_reloaded


def server_credentials(files: TlsFiles) -> Any:
    """Credentials for a port.

    Raises:
        ConfigurationError: The files cannot be read.
    """
    try:
        fetch, first = _fetcher(files), _read(files)
    except OSError as e:
        raise ConfigurationError(f"TLS: {e}", "name a certificate chain and its key, both PEM") from e
    return grpc.dynamic_ssl_server_credentials(first, fetch, require_client_authentication=files.client_ca is not None)


def _fetcher(files: TlsFiles) -> Callable[[], Any]:
    seen, limit = files.seen(clients=True), LogLimit()

    def fetch() -> Any:
        nonlocal seen
        try:
            now = files.seen(clients=True)
            if now == seen:
                return None
            configuration, seen = _read(files), now
        except OSError as e:
            log_not_reloaded(files, e, limit)
            return None
        return configuration

    return fetch


def _read(files: TlsFiles) -> Any:
    client_ca = None if files.client_ca is None else files.client_ca.read_bytes()
    pair = (files.key.read_bytes(), files.certificate.read_bytes())
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=client_ca)
