"""What is remembered of the base GGUF's file: its digest, which need not be computed at each start, and its checksum.

A file is the same one while its size, its time of modification and its inode are. When its bytes are others then, the
disk changed them: whoever replaces or edits a file changes one of the three. What follows from damage is decided by
callers. A note that cannot be read or written is none, and stops nothing.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from edge_runtime.checksum import checksum
from edge_runtime.errors import BaseGgufError, BaseGgufUnreadableError
from loragen.contract.atomic import write_atomic

_MAX_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class BaseNote:
    """What is remembered of one file.

    Attributes:
        file: Which file: size, time of modification, inode.
        digest: Of the model that is in it, where it had to be computed.
        checksum: CRC-32 of its bytes; empty when they were not read yet.
    """

    file: str
    digest: str = ""
    checksum: str = ""

    @classmethod
    def of(cls, base: Path, path: Path) -> Self:
        """What is in the note at `path` of the file that `base` is now.

        Raises:
            OSError: There is no such file.
        """
        status = base.stat()
        fresh = cls(f"{status.st_size} {status.st_mtime_ns} {status.st_ino}")
        try:
            with path.open("rb") as file:
                found = cls(**json.loads(file.read(_MAX_BYTES)))
        except (OSError, ValueError, TypeError, RecursionError):
            return fresh
        is_sound = all(isinstance(value, str) for value in asdict(found).values())
        return found if is_sound and found.file == fresh.file else fresh

    def store(self, path: Path) -> None:
        """Write the note."""
        with suppress(OSError):
            write_atomic(path, json.dumps(asdict(self)).encode())


def verify_undamaged(base: Path, path: Path) -> None:
    """Compare the base GGUF with the note at `path`; the first time, note what is there.

    Raises:
        BaseGgufError: The disk changed it.
        BaseGgufUnreadableError: It cannot be read.
    """
    try:
        note, found = BaseNote.of(base, path), checksum(base)
    except OSError as error:
        raise BaseGgufUnreadableError(f"cannot read {base.name}: {error.strerror or error}") from error
    if not note.checksum:
        replace(note, checksum=found).store(path)
    elif note.checksum != found:
        raise BaseGgufError(
            f"{base.name} is damaged: its bytes are not those that this device read first",
            "the disk changed them; put the base GGUF there anew",
        )
