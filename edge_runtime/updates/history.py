"""The history of a device: what it tried to change, in a file that is read without the cloud and without its log.

Rules: one line of JSON for each attempt; a poll only when it ended otherwise than the one before, so that a cloud that
is away for days is one line. Two files of bounded length, the older of which is dropped. A disk that refuses a line
loses that line and nothing else.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from edge_runtime.telemetry import UpdateRecord

MAX_HISTORY_BYTES = 256 * 1024
"""Of each of the two files: about a thousand attempts."""

_OUTCOMES_THAT_ARE_FINE = ("ok", "unchanged")
_MOST_LINES = 1_000_000
_log = structlog.get_logger(__name__)


class History:
    """Writes the history of one device.

    Args:
        path: The file; the one before it has `.old` behind its name.
        now: Unix seconds.
    """

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._path = path
        self._now = now
        self._last_poll = "ok"

    def add(self, record: UpdateRecord) -> None:
        """Note an attempt."""
        if record.step == "poll":
            outcome = "ok" if record.outcome in _OUTCOMES_THAT_ARE_FINE else record.outcome
            if outcome == self._last_poll:
                return
            self._last_poll = outcome
        at = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="seconds")
        said = {key: value for key, value in asdict(record).items() if value is not None}
        try:
            if self._path.exists() and self._path.stat().st_size > MAX_HISTORY_BYTES:
                os.replace(self._path, _older(self._path))
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"at": at, **said}) + "\n")
        except OSError as error:
            _log.debug("history_not_written", reason=error.strerror or str(error))


def read_history(path: Path, count: int) -> list[dict[str, Any]]:
    """The last `count` attempts, the oldest first; a line that is damaged is left out."""
    lines: list[str] = []
    for each in (_older(path), path):
        try:
            with each.open(encoding="utf-8", errors="replace") as file:
                lines += file.read(2 * MAX_HISTORY_BYTES).splitlines()
        except OSError:
            continue
    return [found for line in lines if (found := _parse(line)) is not None][-count:]


def read_failures(path: Path, count: int) -> list[dict[str, Any]]:
    """The last `count` attempts that failed, the oldest first."""
    found = read_history(path, _MOST_LINES)
    return [each for each in found if each.get("outcome") not in _OUTCOMES_THAT_ARE_FINE][-count:]


def _older(path: Path) -> Path:
    return path.with_name(path.name + ".old")


def _parse(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
