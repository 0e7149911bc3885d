"""Adapter: a service as a child process, with settings of its own and its output in a log file."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from loragen.client.errors import StackError, WaitError
from loragen.client.retries import Deadline
from loragen.client.session import POLL_SECONDS, Session

READY_SECONDS = 240.0
"""A service that ends early is noticed at once, and a cold disk under load takes long to import torch."""

STOP_SECONDS = 20.0
SHOWN_LOG_LINES = 20


class ServiceProcess:
    """A running child process; ended when the block is left, by its process id.

    Args:
        name: For messages.
        arguments: Of the Python interpreter.
        settings: Environment variables; of those called `LORAGEN_...`, the child sees these and no others.
        log: File for its output.
    """

    def __init__(self, name: str, arguments: Sequence[str], settings: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("LORAGEN_")}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**inherited, **settings},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def verify_alive(self) -> None:
        """Do nothing while the process runs.

        Raises:
            StackError: It has ended; the message has the end of its log.
        """
        if (code := self.process.poll()) is not None:
            raise StackError(f"{self.name} ended with exit code {code}; {self.log_end()}")

    def wait_until_ready(self, client: Session, timeout_seconds: float = READY_SECONDS) -> None:
        """Return when the service, which `client` talks to, takes requests.

        Raises:
            StackError: The process has ended; the message has the end of its log.
            WaitError: The service is not ready after this time.
        """
        deadline = Deadline(timeout_seconds)
        while not (readiness := client.readiness()).ready:
            self.verify_alive()
            if deadline.remaining_seconds <= 0:
                late = f"{client.url} is not ready after {timeout_seconds:g} s: {readiness.reason}"
                raise WaitError(f"{late}; {self.log_end()}")
            time.sleep(POLL_SECONDS)

    def verify_success(self) -> None:
        """Wait for the process to end by itself.

        Raises:
            StackError: Its exit code was not 0; the message has the end of its log.
        """
        if code := self.process.wait():
            raise StackError(f"{self.name} ended with exit code {code}; {self.log_end()}")

    def log_end(self) -> str:
        """The last lines of the log, for messages."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LOG_LINES:]
        return "\n".join((f"the end of {self.log}:", *lines))

    def stop(self) -> None:
        """End the process: ask first, kill after a while."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in sockets]
