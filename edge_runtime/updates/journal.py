"""The journal: what was begun and has not ended, so that a device which dies of something does not do it for ever.

A bundle that ends the process when it is loaded would do so after each restart: the state on disk says what serves, not
what was going on. Rules: an attempt is noted before it begins and struck out when it ends, however it ends; what is
still there at the start, the process died in. After `MAX_DEATHS` in a row an attempt is refused once, and forgotten:
the device stays as it is, and the restart after that, with another program or more memory, tries again. A power failure
counts like a crash, because the two look the same.

The file is not forced to the disk: it outlives the process, which is enough, and costs next to nothing. One that cannot
be read or written is no journal, and stops nothing.
"""

import json
import os
from contextlib import suppress
from pathlib import Path

from edge_runtime.errors import DeadlyAttemptError

MAX_DEATHS = 3

_MAX_BYTES = 1024 * 1024
_FORMAT = 1


class Journal:
    """What one device has begun.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._deaths = _died_in(path)
        self._begun: set[str] = set()

    def deaths(self, step: str, name: str, bundle_id: str) -> int:
        """How often in a row the process died in this attempt."""
        return self._deaths.get(_key(step, name, bundle_id), 0)

    def begin(self, step: str, name: str, bundle_id: str) -> None:
        """Note an attempt; it must then come to `end`.

        Raises:
            DeadlyAttemptError: The process died in it too often.
        """
        key = _key(step, name, bundle_id)
        if (deaths := self._deaths.get(key, 0)) >= MAX_DEATHS:
            del self._deaths[key]
            self._write()
            raise DeadlyAttemptError(
                f"{name}: the device ended {deaths} times in a row during the step {step!r} of this bundle",
                "it is tried again after the next restart; the system's log may say why the device ended",
            )
        self._begun.add(key)
        self._write()

    def end(self, step: str, name: str, bundle_id: str) -> None:
        """Strike an attempt out, and what it died of before."""
        key = _key(step, name, bundle_id)
        self._begun.discard(key)
        self._deaths.pop(key, None)
        self._write()

    def _write(self) -> None:
        # Whoever is in `begun` when the process ends has died once more.
        counts = {key: self._deaths.get(key, 0) for key in {*self._deaths, *self._begun}}
        document = {"format": _FORMAT, "begun": sorted(self._begun), "deaths": counts}
        written = self._path.with_name(self._path.name + ".partial")
        with suppress(OSError):
            written.write_text(json.dumps(document))
            os.replace(written, self._path)


def _key(step: str, name: str, bundle_id: str) -> str:
    return f"{step} {name} {bundle_id}"


def _died_in(path: Path) -> dict[str, int]:
    """Deaths in a row, by attempt that the last process ended in."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            return {}
        found = json.loads(path.read_bytes())
        begun, deaths = found["begun"], found["deaths"]
        return {str(key): int(deaths[key]) + 1 for key in begun} if found["format"] == _FORMAT else {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return {}
