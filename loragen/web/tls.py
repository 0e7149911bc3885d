"""TLS of a server, from files that may be replaced while it runs.

What can be reloaded and what cannot: the certificate and its key are read again at the first handshake after they have
changed, and count from the next one on; connections that are open keep theirs. Files that do not belong together, as in
the middle of a replacement, leave the last pair in force. Which clients are trusted is read at the start only.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

import structlog

from loragen.web.errors import ConfigurationError
from loragen.web.log_limit import LogLimit

_log = structlog.get_logger(__name__)

Seen = tuple[tuple[int, int], ...]
"""Time of change and inode of each file."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What a server shows, and whom it trusts.

    Attributes:
        certificate: The chain, PEM.
        key: Its private key, PEM, without a password.
        client_ca: Certificates of the authorities whose clients may connect; None lets everybody connect.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def seen(self, *, clients: bool = False) -> Seen:
        """What changes when the certificate or its key is replaced; with `clients`, also those of the authorities.

        Raises:
            OSError: A file is not there.
        """
        paths = [self.certificate, self.key]
        if clients and self.client_ca is not None:
            paths.append(self.client_ca)
        return tuple((about.st_mtime_ns, about.st_ino) for about in (path.stat() for path in paths))


class ServerTls:
    """The TLS of one listener.

    Args:
        files: Where it comes from.

    Attributes:
        context: For the listener.

    Raises:
        ConfigurationError: The files cannot be read, or do not belong together.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._log_limit = LogLimit()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            self._seen = files.seen()
            self.context.load_cert_chain(files.certificate, files.key, _no_password)
            if files.client_ca is not None:
                self.context.load_verify_locations(files.client_ca)
                self.context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ValueError) as e:  # an ssl.SSLError is an OSError
            raise ConfigurationError(
                f"TLS: {files.certificate}, {files.key}: {e}", "name a certificate chain and its key, both PEM"
            ) from e
        # Called at each handshake, with the name that the client asks for or without.
        self.context.sni_callback = lambda *_: self.refresh()

    def refresh(self) -> None:
        """Read the certificate and its key again if they have changed; a failure is logged."""
        try:
            seen = self._files.seen()
            if seen != self._seen:
                # Into another context first: half a replacement would leave this one without a pair.
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                    self._files.certificate, self._files.key, _no_password
                )
                self.context.load_cert_chain(self._files.certificate, self._files.key, _no_password)
                self._seen = seen
                _log.info("certificate_reloaded", certificate=str(self._files.certificate))
        except (OSError, ValueError) as e:
            log_not_reloaded(self._files, e, self._log_limit)


def log_not_reloaded(files: TlsFiles, error: Exception, limit: LogLimit) -> None:
    """Say that a replaced certificate is no good. Clients decide how many handshakes find that out."""
    if (left_out := limit.pass_line(type(error).__name__)) is not None:
        path, reason = str(files.certificate), str(error)
        _log.warning("certificate_not_reloaded", certificate=path, reason=reason, left_out=left_out)


def client_context(ca_file: Path | None, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """The TLS of a client, read now.

    Args:
        ca_file: Certificates of the authorities that the server is trusted by; None for those of the system.
        certificate: The chain that the client shows; None for none.
        key: Its private key.

    Raises:
        OSError, ValueError: A file cannot be read, or the two do not belong together.
    """
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    if certificate is not None:
        context.load_cert_chain(certificate, key, _no_password)
    return context


def _no_password() -> str:
    # Without this OpenSSL asks at the terminal, for ever in a service.
    raise ValueError("expected a private key without a password")
