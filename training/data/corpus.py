"""Adapter: the packed public data sets on disk (`--data DIR`), as plain records.

Only reads and splits; what a record is used for belongs to `training.data.families`. Sources and licences are named in
the model card.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import zstandard

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Records of one `.jsonl.zst` file, streamed.

    Raises:
        FileNotFoundError: With the folder that `--data` should name.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: --data must name the folder that holds {path.parent.name}/{path.name}"
        )
    with path.open("rb") as file:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8"):
            yield json.loads(line)


def read_paragraphs(path: Path, shortest: int = 200) -> Iterator[str]:
    """Paragraphs of a packed text file, joined until they hold at least `shortest` characters."""
    with path.open("rb") as file:
        pending = ""
        for block in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8"):
            line = block.strip()
            if line == "<|endofdoc|>":
                pending = ""
            elif line:
                pending = f"{pending} {line}" if pending else line
            elif len(pending) >= shortest:
                yield pending
                pending = ""


def split_of(key: str, held_out: float = 0.1) -> Split:
    """The split that a key belongs to, by hash: the same in every run and on every machine.

    Args:
        key: Identity of a task, a tool or an input.
        held_out: Share of keys in *each* of validation and test.
    """
    position = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
    if position < held_out:
        return "test"
    return "validation" if position < 2 * held_out else "train"
