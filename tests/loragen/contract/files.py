"""Helper: takes files of the contract apart and puts them together again, altered."""

import json
from collections.abc import Callable
from typing import Any

Header = dict[str, Any]


Edit = Callable[[Header], None]


GATE_A = "base_model.model.model.layers.0.mlp.gate_proj.lora_A.weight"


GATE_B = "base_model.model.model.layers.0.mlp.gate_proj.lora_B.weight"


def split(data: bytes) -> tuple[Header, bytes]:
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def framed(header: bytes, data: bytes) -> bytes:
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data


def canonical(header: Header, data: bytes) -> bytes:
    return framed(json.dumps(header, sort_keys=True, separators=(",", ":")).encode(), data)


def metadata(**fields: str) -> Edit:
    """Replaces header fields; `__` in a keyword stands for a dot."""

    def edit(header: Header) -> None:
        header["__metadata__"] |= {f"loragen.{name.replace('__', '.')}": value for name, value in fields.items()}

    return edit


def tensor(name: str, **fields: object) -> Edit:
    return lambda header: header[name].update(fields)


def without(*path: str) -> Edit:
    def edit(header: Header) -> None:
        *parents, last = path
        for parent in parents:
            header = header[parent]
        del header[last]

    return edit
