"""Helper: moto's server as a process, which keeps buckets in memory and speaks S3 on a free loopback port."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from loragen.client.process import free_ports

BUCKET = "bundles"

_OPERATOR = {
    "Content-Type": "application/octet-stream",
    "Authorization": "AWS4-HMAC-SHA256 Credential=operator/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0",
}
"""The signature is not looked at before `refuse_everybody`."""


class S3Server:
    """One server with one bucket."""

    def __init__(self, directory: Path) -> None:
        (self.port,) = free_ports(1)
        with (directory / "s3.log").open("wb") as log:
            command = [sys.executable, "-c", "from moto.server import main; main()", "-p", str(self.port)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(300):
            with contextlib.suppress(OSError):
                self.ask("GET", "/moto-api/")
                break
            time.sleep(0.1)
        self.ask("PUT", f"/{BUCKET}")

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def let_in(self, patch: pytest.MonkeyPatch) -> None:
        """Set the variables that a client reads."""
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", self.address)
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")

    def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """A request of somebody who may do everything."""
        request = urllib.request.Request(self.address + path, body or None, _OPERATOR, method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            content: bytes = answer.read()
            return content

    def empty(self) -> None:
        """As after the start."""
        self.ask("POST", "/moto-api/reset")
        self.ask("PUT", f"/{BUCKET}")

    def alter(self, name: str, data: bytes) -> None:
        """Write an object behind the back of whoever stored it."""
        self.ask("PUT", f"/{BUCKET}/{name}", data)

    def refuse_everybody(self) -> None:
        """From now on, credentials are checked, and nobody has any."""
        self.ask("POST", "/moto-api/reset-auth", b"0")

    def let_everybody_in(self) -> None:
        self.ask("POST", "/moto-api/reset-auth", b"inf")

    def pause(self) -> None:
        """The server answers nothing until `go_on`."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self.go_on()
        self._process.kill()
        self._process.wait(10)

    def names(self) -> list[str]:
        """Of all objects, as somebody else lists them."""
        return re.findall("<Key>([^<]+)</Key>", self.ask("GET", f"/{BUCKET}?list-type=2").decode())
