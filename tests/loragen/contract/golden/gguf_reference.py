"""Helper: the golden GGUF model and its digest in plain Python: struct and json, nothing of `contract`.

Like `reference.py`, it is the specification read by someone else, and made the file beside it:
`python tests/loragen/contract/golden/gguf_reference.py`.
"""

import hashlib
import json
import struct
from pathlib import Path

# Of a GGUF model: key -> number of the value's type, value; name -> number of the tensor's type, row-major shape, data.
UINT32, FLOAT32, STRING, ARRAY = 4, 6, 8, 9
GGUF_METADATA: dict[str, tuple[int, object]] = {
    "general.architecture": (STRING, "llama"),
    "general.name": (STRING, "Gölden"),
    "llama.block_count": (UINT32, 1),
    "llama.rope.freq_base": (FLOAT32, 10000.0),
    "llamas.note": (STRING, "of another architecture"),
    "tokenizer.ggml.model": (STRING, "gpt2"),
    "tokenizer.ggml.tokens": (ARRAY, ["a", "ü", ""]),
    "tokenizer.chat_template": (STRING, "{{ messages }}"),
}
GGUF_TENSORS: dict[str, tuple[int, tuple[int, ...], bytes]] = {
    "token_embd.weight": (0, (3, 2), struct.pack("<6f", 1, -2, 0.5, 0, 3, -0.25)),  # F32
    "blk.0.ffn_up.weight": (8, (2, 32), bytes(range(68))),  # Q8_0: 34 bytes a row
}


def gguf_text(text: str) -> bytes:
    """A string as GGUF has it."""
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_value(kind: int, value: object) -> bytes:
    """A metadata value without the number of its type; a list is one of strings."""
    if isinstance(value, list):
        return struct.pack("<IQ", STRING, len(value)) + b"".join(map(gguf_text, value))
    return gguf_text(value) if isinstance(value, str) else struct.pack("<I" if kind == UINT32 else "<f", value)


def gguf_bytes() -> bytes:
    """A GGUF file of version 3 with the golden metadata and tensors, aligned to 32 bytes."""
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(GGUF_TENSORS), len(GGUF_METADATA))
    for key, (kind, value) in GGUF_METADATA.items():
        head += gguf_text(key) + struct.pack("<I", kind) + gguf_value(kind, value)
    data = b""
    for name, (kind, shape, content) in GGUF_TENSORS.items():
        head += gguf_text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind, len(data))
        data += content + bytes(-len(content) % 32)
    return head + bytes(-len(head) % 32) + data


def gguf_digest() -> str:
    """Digest of the golden GGUF model."""
    keys = [key for key in GGUF_METADATA if key.startswith(("llama.", "tokenizer.")) or key == "general.architecture"]
    document = {
        "metadata": {
            key: hashlib.sha256(struct.pack("<I", GGUF_METADATA[key][0]) + gguf_value(*GGUF_METADATA[key])).hexdigest()
            for key in keys
        },
        "tensors": {
            name: [kind, shape, hashlib.sha256(content).hexdigest()]
            for name, (kind, shape, content) in GGUF_TENSORS.items()
        },
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


if __name__ == "__main__":
    Path(__file__).with_name("model-1.gguf").write_bytes(gguf_bytes())
