"""Merges a bundle into a master: W' = W + alpha/rank B A on gate, up and down, quantized, in one new GGUF file.

Rules it keeps:
- Everything is decided before a byte is written: whether the bundle belongs to the master, the type of each tensor, and
  that at least `MIN_SURVIVAL` of each delta survives in that type.
- A touched tensor whose delta would be lost in the requested type is stored as Q8_0. If that loses it too, nothing is
  merged (`SurvivalError`), and the caller serves the LoRA as a run-time adapter.
- Tensors that no LoRA touches are quantized once into a cache file and copied from there.

It leaves to others: formats (`contract`), arithmetic (`delta.py`), rounding (`quantize.py`), bytes (`writer.py`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gguf.constants import GGMLQuantizationType

from contract.bundle import Bundle, content_id, encode_bundle
from contract.names import gguf_name
from edge_runtime.errors import MasterError, SurvivalError
from edge_runtime.merge.cache import cached
from edge_runtime.merge.delta import Delta, measure_survival, measure_survival_exactly
from edge_runtime.merge.gguf_file import TensorInfo, Value, text, uint32
from edge_runtime.merge.master import Master, verify_admitted
from edge_runtime.merge.quantize import Codec, Quantization, find_quantization, fitting_type, storage_type, wanted_type
from edge_runtime.merge.writer import THREADS, PlannedTensor, Progress, Stored, write_model

MIN_SURVIVAL = 0.9
"""The least acceptable share of a delta; below it a merged model would not be the specialization that was sent."""

BUNDLE_ID_KEY = "loragen.bundle.id"
"""GGUF metadata key of a merged model: the bundle that is in it."""


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge did.

    Attributes:
        bundle_id: The bundle that was merged.
        seconds: Wall time.
        bytes: Length of the new file.
        survival: Share of the delta that survived (`delta.py`), by GGUF tensor name; a zero delta is left out.
        types: Type of each of these tensors in the new file.
        strategy: `requested`: every touched tensor has the requested type; `q8_0`: some were stored as Q8_0 instead.
    """

    bundle_id: str
    seconds: float
    bytes: int
    survival: Mapping[str, float]
    types: Mapping[str, str]
    strategy: str

    @property
    def min_survival(self) -> float:
        """The smallest share over the tensors; 1 when nothing was added to any."""
        return min(self.survival.values(), default=1.0)

    @property
    def mean_survival(self) -> float:
        """The mean share over the tensors; 1 when nothing was added to any."""
        return sum(self.survival.values()) / len(self.survival) if self.survival else 1.0


def merge(
    master_path: Path,
    bundle: Bundle,
    out: Path,
    type_name: str,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    admitted_digest: str | None = None,
) -> MergeReport:
    """Write the master with a bundle merged into it, quantized.

    Args:
        master_path: GGUF master.
        bundle: What to merge.
        out: The new model; replaced as a whole, untouched when anything fails.
        type_name: A name of `quantize.QUANTIZATIONS`.
        cache_dir: Where quantized tensors that no LoRA touches are kept; None quantizes them each time.
        progress: Called with bytes written and bytes in all.
        admitted_digest: See `master.verify_admitted`.

    Raises:
        MergeError: The two do not belong together, the master is damaged, weights would not be finite, the delta would
            be lost, or the file cannot be written.
        ContractError: The bundle holds values that no bundle file could hold.
    """
    started = time.perf_counter()
    quantization = find_quantization(type_name)
    bundle_id = content_id(encode_bundle(bundle))
    codec = Codec()
    with Master(master_path) as master:
        verify_admitted(master, bundle.header, admitted_digest)
        if bundle.lora.shape != master.shape:
            raise MasterError(
                f"the bundle is for {bundle.lora.shape}, the master is {master.shape}", code="master_not_admitted"
            )
        deltas = _deltas(bundle)
        with ThreadPoolExecutor(THREADS, thread_name_prefix="survival") as pool:
            shares = pool.map(lambda n: _place(master, master.tensors[n], deltas[n], quantization, codec), deltas)
            placed = dict(zip(deltas, shares, strict=True))
        types = {name: dtype for name, (dtype, _) in placed.items()}
        metadata = _metadata(master, quantization) | {BUNDLE_ID_KEY: text(bundle_id)}
        size = _write(out, metadata, master, quantization, deltas, types, cache_dir, codec, progress)
    asked = all(dtype is wanted_type(master.tensors[name], quantization) for name, dtype in types.items())
    return MergeReport(
        bundle_id=bundle_id,
        seconds=time.perf_counter() - started,
        bytes=size,
        survival={name: share for name, (_, share) in placed.items()},
        types={name: dtype.name for name, dtype in types.items()},
        strategy="requested" if asked else "q8_0",
    )


def quantize_base(
    master_path: Path, out: Path, type_name: str, cache_dir: Path | None = None, progress: Progress | None = None
) -> Path:
    """Write the master quantized, without any LoRA: what a device serves before it has a specialization.

    Args:
        master_path: GGUF master; one from elsewhere is fine, nothing is merged into it.
        out: The new model.
        type_name: A name of `quantize.QUANTIZATIONS`.
        cache_dir: As in `merge`.
        progress: Called with bytes written and bytes in all.

    Returns:
        `out`.

    Raises:
        MergeError: As in `merge`.
    """
    quantization = find_quantization(type_name)
    with Master(master_path) as master:
        _write(out, _metadata(master, quantization), master, quantization, {}, {}, cache_dir, Codec(), progress)
    return out


def _deltas(bundle: Bundle) -> dict[str, Delta]:
    lora = bundle.lora
    found = {gguf_name(*block): Delta.of(*lora.factors[block], lora.scale) for block in lora.shape.blocks()}
    return {name: delta for name, delta in found.items() if delta is not None}


def _place(
    master: Master, info: TensorInfo, delta: Delta, quantization: Quantization, codec: Codec
) -> tuple[GGMLQuantizationType, float]:
    """The type for a touched tensor, and the share of its delta that survives there."""
    wanted = wanted_type(info, quantization)
    share = 0.0
    for dtype in dict.fromkeys((wanted, fitting_type(info.columns, GGMLQuantizationType.Q8_0))):
        share = measure_survival(master, info, delta, dtype, codec)
        if share < MIN_SURVIVAL:
            share = measure_survival_exactly(master, info, delta, dtype, codec)
        if share >= MIN_SURVIVAL:
            return dtype, share
    raise SurvivalError(
        f"survival of the delta of {info.name} would be {share:.2f} in {dtype.name}, at least {MIN_SURVIVAL} expected",
        hint=f"the master holds this tensor as {info.type.name}; use a master of higher precision",
    )


def _metadata(master: Master, quantization: Quantization) -> dict[str, Value]:
    return {
        **master.header.metadata,
        "general.file_type": uint32(quantization.file_type),
        "general.quantization_version": uint32(2),
    }


def _write(
    out: Path,
    metadata: Mapping[str, Value],
    master: Master,
    quantization: Quantization,
    deltas: Mapping[str, Delta],
    types: Mapping[str, GGMLQuantizationType],
    cache_dir: Path | None,
    codec: Codec,
    progress: Progress | None,
) -> int:
    plan = []
    for info in master.header.tensors:
        if info.name in deltas:
            plan.append(PlannedTensor(info, types[info.name], deltas[info.name]))
        else:
            dtype = storage_type(info, quantization)
            plan.append(PlannedTensor(info, dtype, stored=Stored(master.fileno, info) if dtype is info.type else None))
    if cache_dir is None:
        return write_model(out, metadata, plan, master, codec, progress)
    with cached(plan, cache_dir, quantization, master, codec) as complete:
        return write_model(out, metadata, complete, master, codec, progress)
