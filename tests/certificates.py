"""Helper: an authority and its certificates, made by the command `openssl`, which Debian has."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates; its files are in a folder of the test."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory
        self.own = Pair(directory / f"{name}.pem", directory / f"{name}.key")
        _openssl(self.own, name, "basicConstraints=critical,CA:TRUE")

    @property
    def file(self) -> Path:
        return self.own.certificate

    def sign(self, name: str) -> Pair:
        """A certificate for loopback."""
        pair = Pair(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        by = ("-CA", str(self.own.certificate), "-CAkey", str(self.own.key))
        _openssl(pair, name, "basicConstraints=critical,CA:FALSE", "subjectAltName=IP:127.0.0.1,DNS:localhost", by=by)
        return pair


def _openssl(pair: Pair, name: str, *extensions: str, by: tuple[str, ...] = ()) -> None:
    more = [part for extension in extensions for part in ("-addext", extension)]
    command = ["openssl", "req", "-x509", *_EC, "-subj", f"/CN={name}", *more, *by]
    files = ["-keyout", str(pair.key), "-out", str(pair.certificate)]
    subprocess.run([*command, *files], check=True, capture_output=True)
