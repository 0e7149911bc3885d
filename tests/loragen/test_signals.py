"""Signals end a process: at once while it starts, and in order while it serves."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from loragen.signals import exit_on_sigterm, stop_on_signals


@dataclass(frozen=True)
class Child:
    """Something to be closed."""

    said: list[str]

    def close(self) -> None:
        self.said.append("closed")


@pytest.fixture
def _handler_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("_handler_as_before")
def test_sigterm_leaves_the_blocks_of_a_process_that_starts() -> None:
    exit_on_sigterm()
    left: list[str] = []
    with pytest.raises(SystemExit) as ended, closing(Child(left)):
        signal.raise_signal(signal.SIGTERM)
    assert (ended.value.code, left) == (128 + signal.SIGTERM, ["closed"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_sets_the_event_once(number: signal.Signals) -> None:
    """A second one has its usual effect again: it ends the process."""
    with stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stop.wait()
        assert signal.getsignal(number) is not None
        assert not asyncio.get_running_loop().remove_signal_handler(number)
