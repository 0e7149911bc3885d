"""Merges a bundle into a base GGUF: W' = W + B A where the LoRA has factors, quantized, in one new GGUF file.

Rules:
- Everything is decided before a byte is written: whether the bundle belongs to the base GGUF, the type of each tensor,
  and that the retained delta of each is at least `MIN_RETAINED_DELTA` in that type.
- A touched tensor whose delta would be lost in the requested type is stored as Q5_1 or Q8_0. If they lose it too,
  nothing is merged (`RetainedDeltaError`), and the caller serves the LoRA as a run-time adapter.
- The file names the type that most of its matrices really have, even when another was requested.
- Tensors that no LoRA touches are quantized once into a cache file and copied from there.

It leaves to others: formats (`loragen.contract`), arithmetic (`delta.py`), rounding (`edge_runtime.gguf`), bytes
(`writer.py`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gguf.constants import GGML_QUANT_VERSION, GGMLQuantizationType, Keys

from edge_runtime.errors import BaseGgufError, OutputError, RetainedDeltaError
from edge_runtime.gguf.base_gguf import BaseGguf, verify_admitted
from edge_runtime.gguf.quantization import (
    Codec,
    Quantization,
    file_type,
    keeping_types,
    main_type,
    storage_type,
    wanted_type,
)
from edge_runtime.merge.cache import cached
from edge_runtime.merge.delta import Delta, measure_retained_delta
from edge_runtime.merge.writer import PlannedTensor, Progress, Stored, merging_threads, write_model
from loragen.contract.answer import encode_answer
from loragen.contract.bundle import Bundle, content_id, encode_bundle
from loragen.contract.errors import MismatchError
from loragen.contract.gguf_adapter import GgufModel, gguf_factors
from loragen.contract.gguf_header import TensorInfo, Value, text, uint32
from loragen.contract.lora import verify_fits
from loragen.contract.names import ANSWER_CONTRACT, BUNDLE_ID, RESIDUAL_PROMPT

MIN_RETAINED_DELTA = 0.9
"""The least acceptable share of a delta; below it a merged model would not be the specialization that was sent."""

_STANDARD_ERRORS = 4
"""A retained delta on some rows that is so far below the least one is not measured on all. Most are much farther below:
a second measurement in a type that loses the delta was a third of the time of a merge of SmolLM2."""

_MOST_UNCERTAIN = 0.1
"""However much the rows differ."""


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge did.

    Attributes:
        bundle_id: The bundle that was merged.
        seconds: Wall time.
        bytes: Length of the new file.
        retained_delta: By GGUF tensor name (see `delta.py`); a tensor whose delta is zero is left out.
        types: Type of each of these tensors in the new file.
        main_type: Type that most matrices of the new file have.
        strategy: `requested`: every touched tensor has the type that the request means for its width; `larger`: some
            needed a larger one to keep the delta.
    """

    bundle_id: str
    seconds: float
    bytes: int
    retained_delta: Mapping[str, float]
    types: Mapping[str, str]
    main_type: str
    strategy: str

    @property
    def min_retained_delta(self) -> float:
        """The smallest over the tensors; 1 when no tensor changed."""
        return min(self.retained_delta.values(), default=1.0)

    @property
    def mean_retained_delta(self) -> float:
        """The mean over the tensors; 1 when no tensor changed."""
        return sum(self.retained_delta.values()) / len(self.retained_delta) if self.retained_delta else 1.0


def merge(
    base_path: Path,
    bundle: Bundle,
    out: Path,
    quantization: Quantization,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    admitted_digest: str | None = None,
) -> MergeReport:
    """Write the base GGUF with a bundle merged into it, quantized.

    Args:
        base_path: The base GGUF.
        bundle: What to merge.
        out: The new model; it is replaced as a whole, or stays as it was.
        quantization: Type of the new file.
        cache_dir: Where quantized tensors that no LoRA touches are kept; None quantizes them each time.
        progress: Called with bytes written and bytes in all.
        admitted_digest: See `base_gguf.verify_admitted`.

    Raises:
        MergeError: The two do not belong together, the base GGUF is damaged, weights would not be finite, the delta
            would be lost, or the file cannot be written.
        ContractError: The bundle holds values that no bundle file could hold.
    """
    started = time.perf_counter()
    verify_other_file(out, base_path)
    bundle_id = content_id(encode_bundle(bundle))
    codec = Codec()
    with BaseGguf(base_path) as base_gguf:
        verify_admitted(base_gguf, bundle.header, admitted_digest)
        if bundle.lora.shape != base_gguf.shape:
            raise BaseGgufError(
                f"the bundle is for {bundle.lora.shape}, the base GGUF is {base_gguf.shape}", code="base_not_admitted"
            )
        deltas = _deltas(bundle, base_gguf)
        with merging_threads() as pool:
            shares = pool.map(lambda n: _place(base_gguf, base_gguf.tensors[n], deltas[n], quantization, codec), deltas)
            placed = dict(zip(deltas, shares, strict=True))
        types = {name: dtype for name, (dtype, _) in placed.items()}
        metadata = {
            **base_gguf.header.metadata,
            BUNDLE_ID: text(bundle_id),
            ANSWER_CONTRACT: text(encode_answer(bundle.header.answer)),
            RESIDUAL_PROMPT: text(bundle.header.residual_prompt),
        }
        size, mostly = _write(out, metadata, base_gguf, quantization, deltas, types, cache_dir, codec, progress)
    asked = all(dtype is wanted_type(base_gguf.tensors[name], quantization) for name, dtype in types.items())
    return MergeReport(
        bundle_id=bundle_id,
        seconds=time.perf_counter() - started,
        bytes=size,
        retained_delta={name: share for name, (_, share) in placed.items()},
        types={name: dtype.name for name, dtype in types.items()},
        main_type=mostly.name,
        strategy="requested" if asked else "larger",
    )


def quantize_base(
    base_path: Path,
    out: Path,
    quantization: Quantization,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the base GGUF quantized, without any LoRA: what a device serves before it has a specialization.

    Args:
        base_path: The base GGUF; it need not say which model it is.
        out: The new model.
        quantization: Type of the new file.
        cache_dir: As in `merge`.
        progress: Called with bytes written and bytes in all.

    Returns:
        `out`.

    Raises:
        MergeError: As in `merge`.
    """
    verify_other_file(out, base_path)
    with BaseGguf(base_path) as base_gguf:
        _write(out, base_gguf.header.metadata, base_gguf, quantization, {}, {}, cache_dir, Codec(), progress)
    return out


def verify_other_file(out: Path, source: Path) -> None:
    """Check that what is to be written is not what is read; links are followed.

    Raises:
        OutputError: It is.
    """
    if out.resolve() == source.resolve():
        raise OutputError(f"{out.name} is read for this, and would be lost", hint="name another file to write")


def _deltas(bundle: Bundle, base_gguf: BaseGguf) -> dict[str, Delta]:
    try:
        verify_fits(bundle.lora.factors, base_gguf.linears)
        factors = gguf_factors(bundle.lora, GgufModel.of(base_gguf.header))
    except MismatchError as e:
        raise BaseGgufError(str(e), e.hint, code="base_not_admitted") from e
    found = {name: Delta.of(*pair) for name, pair in factors.items()}
    return {name: delta for name, delta in found.items() if delta is not None}


def _place(
    base_gguf: BaseGguf, info: TensorInfo, delta: Delta, quantization: Quantization, codec: Codec
) -> tuple[GGMLQuantizationType, float]:
    """The type for a touched tensor, and its retained delta there."""
    share = 0.0
    *smaller, last = keeping_types(info, quantization)
    for dtype in (*smaller, last):
        share, error = measure_retained_delta(base_gguf, info, delta, dtype, codec)
        highest = share + min(_STANDARD_ERRORS * error, _MOST_UNCERTAIN)
        if share < MIN_RETAINED_DELTA and (highest >= MIN_RETAINED_DELTA or dtype is last):
            share, _ = measure_retained_delta(base_gguf, info, delta, dtype, codec, all_rows=True)
        if share >= MIN_RETAINED_DELTA:
            return dtype, share
    raise RetainedDeltaError(
        f"retained delta of {info.name} would be {share:.2f} in {dtype.name}, at least {MIN_RETAINED_DELTA} expected",
        hint=f"the base GGUF holds this tensor as {info.type.name}; use a base GGUF of higher precision",
    )


def _write(
    out: Path,
    metadata: Mapping[str, Value],
    base_gguf: BaseGguf,
    quantization: Quantization,
    deltas: Mapping[str, Delta],
    types: Mapping[str, GGMLQuantizationType],
    cache_dir: Path | None,
    codec: Codec,
    progress: Progress | None,
) -> tuple[int, GGMLQuantizationType]:
    """The new file; its length, and the type of most of its matrices."""
    plan = []
    for info in base_gguf.header.tensors:
        if info.name in deltas:
            plan.append(PlannedTensor(info, types[info.name], deltas[info.name]))
        else:
            dtype = storage_type(info, quantization)
            plan.append(
                PlannedTensor(info, dtype, stored=Stored(base_gguf.fileno, info) if dtype is info.type else None)
            )
    mostly = main_type((each.info, each.dtype) for each in plan)
    metadata = {
        **metadata,
        Keys.General.FILE_TYPE: uint32(file_type(mostly)),
        Keys.General.QUANTIZATION_VERSION: uint32(GGML_QUANT_VERSION),
    }
    if cache_dir is None:
        return write_model(out, metadata, plan, base_gguf, codec, progress), mostly
    with cached(plan, cache_dir, quantization, base_gguf, codec) as complete:
        return write_model(out, metadata, complete, base_gguf, codec, progress), mostly
