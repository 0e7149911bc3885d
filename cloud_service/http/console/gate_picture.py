"""Gates as a picture: a row for each layer and a column for each expert, the groups one below the other.

Colours say the sign, orange for what is added and blue for what is taken away; opacity says the size, so that the
picture can be seen on a light and on a dark page.
"""

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CELL = 8
"""Pixels of a cell."""

_ADDED, _TAKEN = np.array([(230, 110, 20), (50, 130, 230)], np.uint8)
_STRONGEST = 5


@dataclass(frozen=True, slots=True)
class StrongGate:
    """One of the largest gates; layer, group and expert count from 1."""

    layer: int
    group: int
    expert: int
    value: float


@dataclass(frozen=True, slots=True)
class GateSummary:
    """What the picture shows, in words.

    Attributes:
        strongest: The largest gates, the largest first.
    """

    layers: int
    groups: int
    experts: int
    strongest: tuple[StrongGate, ...]


def summarize_gates(gates: NDArray[np.float32]) -> GateSummary | None:
    """What gates, (layers, groups, experts) float32, show; None where all are zero, as for closed sets."""
    if not gates.any():
        return None
    layers, groups, experts = gates.shape
    order = np.argsort(-np.abs(gates), axis=None)[:_STRONGEST]
    strongest = [(*np.unravel_index(place, gates.shape), float(gates.flat[place])) for place in order]
    return GateSummary(
        layers,
        groups,
        experts,
        tuple(StrongGate(int(i) + 1, int(g) + 1, int(e) + 1, value) for i, g, e, value in strongest if value),
    )


def draw_gates(gates: NDArray[np.float32]) -> bytes:
    """A PNG of gates, (layers, groups, experts) float32."""
    layers, groups, experts = gates.shape
    # (rows, experts): a blank row between two groups.
    spaced = np.zeros((groups, layers + 1, experts), np.float32)
    spaced[:, :layers] = gates.transpose(1, 0, 2)
    cells = spaced.reshape(-1, experts)[:-1]
    largest = float(np.abs(cells).max()) or 1.0
    pixels = np.zeros((*cells.shape, 4), np.uint8)
    pixels[..., :3] = np.where(cells[..., None] > 0, _ADDED, _TAKEN)
    pixels[..., 3] = np.rint(np.sqrt(np.abs(cells) / largest) * 255)
    return _png(pixels.repeat(_CELL, axis=0).repeat(_CELL, axis=1))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """(height, width, 4) uint8 as a PNG: https://www.w3.org/TR/png-3/."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 4 * width), np.uint8)  # each row begins with its filter, 0 for none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"".join([b"\x89PNG\r\n\x1a\n", *parts])
