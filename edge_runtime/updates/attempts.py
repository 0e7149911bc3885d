"""Records each attempt to change what serves: how long it took, and how it ended."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import structlog

from edge_runtime.clock import Clock
from edge_runtime.errors import EdgeError, describe_error, error_code
from edge_runtime.telemetry import Telemetry, UpdateRecord
from edge_runtime.updates.journal import Journal
from loragen.contract.errors import ContractError

_log = structlog.get_logger(__name__)


class Attempts:
    """The record of a device's attempts.

    Args:
        channel: Channel that the device follows.
        clock: For durations.
        telemetry: Gets the records.
        journal: Knows in which the device died.
    """

    def __init__(self, channel: str, clock: Clock, telemetry: Telemetry, journal: Journal) -> None:
        self._journal = journal
        self._channel = channel
        self._clock = clock
        self._telemetry = telemetry

    @contextmanager
    def recorded(self, step: str, name: str, bundle_id: str | None = None) -> Iterator[Callable[..., None]]:
        """Record an attempt however it ends. Fields that the block passes to what it gets are added to the record.

        Raises:
            DeadlyAttemptError: The device died too often in this step of this bundle; the block does not run.
        """
        started = self._clock.monotonic()
        details: dict[str, Any] = {}
        outcome, message = "ok", None
        try:
            with self._noted(step, name, bundle_id):
                yield details.update
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except Exception as error:
            if not isinstance(error, (EdgeError, ContractError)):
                _log.exception("update_crashed", step=step, name=name)
            outcome, message = error_code(error), describe_error(error)
            raise
        finally:
            seconds = round(self._clock.monotonic() - started, 6)
            record = UpdateRecord(step, outcome, seconds, self._channel, name, bundle_id, message=message)
            self._telemetry.update_finished(replace(record, **details))

    def has_died(self, step: str, name: str, bundle_id: str) -> bool:
        """Whether the device ended, when it was last in this step of this bundle."""
        return self._journal.deaths(step, name, bundle_id) > 0

    @contextmanager
    def _noted(self, step: str, name: str, bundle_id: str | None) -> Iterator[None]:
        if bundle_id is None:
            yield
            return
        self._journal.begin(step, name, bundle_id)
        try:
            yield
        finally:
            self._journal.end(step, name, bundle_id)
