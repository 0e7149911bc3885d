"""How a process ends on a signal: at once while it starts, and after an orderly shutdown once it serves."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def exit_on_sigterm() -> None:
    """Let SIGTERM end the process by an exception, so that blocks are left and child processes ended.

    Call it before the imports that take seconds: as process 1 of a container, Python ignores SIGTERM until a handler
    is set.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
