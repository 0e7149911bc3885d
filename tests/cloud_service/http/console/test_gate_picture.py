"""Gates as a picture, read with a reader of another hand."""

import struct
import zlib

import numpy as np

from cloud_service.http.console.gate_picture import draw_gates, summarize_gates


def _pixels(png: bytes) -> np.ndarray:  # type: ignore[type-arg]
    """(height, width, 4) uint8."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    data, place, size = b"", 8, (0, 0)
    while place < len(png):
        (length,), kind = struct.unpack(">I", png[place : place + 4]), png[place + 4 : place + 8]
        chunk = png[place + 8 : place + 8 + length]
        assert struct.unpack(">I", png[place + 8 + length : place + 12 + length])[0] == zlib.crc32(kind + chunk)
        if kind == b"IHDR":
            size = struct.unpack(">II", chunk[:8])
        elif kind == b"IDAT":
            data += chunk
        place += 12 + length
    width, height = size
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + 4 * width)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 4)


def test_each_gate_has_its_cell() -> None:
    gates = np.zeros((2, 3, 4), np.float32)
    gates[0, 0, 1], gates[1, 2, 3] = 2.0, -0.5
    pixels = _pixels(draw_gates(gates))
    assert pixels.shape == (8 * 8, 8 * 4, 4)
    added, taken = pixels[0, 8], pixels[8 * 7, 8 * 3]
    assert added[0] > added[2]
    assert taken[2] > taken[0]
    assert (added[3], taken[3]) == (255, 128)
    assert np.count_nonzero(pixels[..., 3]) == 2 * 64


def test_picture_of_nothing_is_blank() -> None:
    assert not _pixels(draw_gates(np.zeros((1, 1, 1), np.float32)))[..., 3].any()


def test_summary_names_the_strongest() -> None:
    gates = np.zeros((2, 1, 4), np.float32)
    assert summarize_gates(gates) is None
    gates[1, 0, 2], gates[0, 0, 0] = -3.0, 1.0
    summary = summarize_gates(gates)
    assert summary is not None
    assert [(each.layer, each.group, each.expert, each.value) for each in summary.strongest] == [
        (2, 1, 3, -3.0),
        (1, 1, 1, 1.0),
    ]
