"""Quantization through ggml's own code: rows of float32 in, blocks of a GGUF type out, and back.

Rules:
- ggml decides how a block is rounded; this module only calls it, from the `libggml-base` that llama-cpp-python ships.
  `gguf` can read K-quants but not make them.
- The library is found without importing `llama_cpp` (which belongs to `serving/llama.py`).
- ggml aborts the whole process on arguments it does not like, so they are checked here first.
- The calls release the GIL and share nothing: any number of threads may use one codec.

Which type a tensor gets (`storage_type`) is llama.cpp's practice, made uniform:
- matrices of the decoder layers: the requested type;
- token embedding and output matrix: Q6_K beside Q4 and Q5, because they weigh most on quality and cost little speed;
- rows that do not fill a K-quant's 256 weights: the block type of like size with the least error (`_FITTING`), and
  below 32 weights F16;
- vectors (norms, biases, rotary factors) and tensors this code does not know: as they are;
- a tensor that the base GGUF holds in a type no larger than the one asked for, give or take half a bit: as it is;
- but Q8_0, where that is asked for and the tensor's type is slow in batches: more memory, no more error, more speed.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

from edge_runtime.errors import MergeError
from loragen.contract.gguf_header import TensorInfo, row_bytes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_EMBEDDINGS = ("token_embd.weight", "output.weight")
_MATRICES = tuple(
    f".{name}.weight"
    for name in ("attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
)
# Types that a base GGUF may be stored in, beside floats.
_DECODERS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")

# A K-quant, and what takes its place where its blocks of 256 weights do not divide a row. Relative error of Gaussian
# weights (benchmarks/quantization_types.py): Q4_K 7.1 %, IQ4_NL 7.6 %, Q4_0 8.6 %, Q4_1 7.8 %; Q5_K 3.6 %, Q5_0 4.3 %;
# Q6_K 1.8 %, Q5_1 3.8 %, Q8_0 0.5 %. Q5_1 is nearer in size to Q6_K, but no type gives less for its bytes.
_FITTING = {
    GGMLQuantizationType.Q4_K: GGMLQuantizationType.IQ4_NL,
    GGMLQuantizationType.Q5_K: GGMLQuantizationType.Q5_0,
    GGMLQuantizationType.Q6_K: GGMLQuantizationType.Q8_0,
}

# Types that llama.cpp computes a token at a time: a batch of eight takes five times as long as one token.
_SLOW_IN_BATCHES = (GGMLQuantizationType.Q4_1, GGMLQuantizationType.Q5_1)

# Bits a weight by which a base GGUF's type may exceed the one asked for before it is quantized anew. A published Q4_1
# (5 bits) beside Q4_K (4.5): quantizing it a second time would cost more than the half bit gives.
_BITS_TO_SPARE = 0.5


class Quantization(StrEnum):
    """The types a device can serve, by the name that settings and the command line use.

    A new one needs a line here, and a decoder in `_DECODERS` when llama.cpp cannot decode it yet.
    """

    Q4_0 = "Q4_0"
    Q4_K = "Q4_K"
    Q5_K = "Q5_K"
    Q6_K = "Q6_K"
    Q8_0 = "Q8_0"
    F16 = "F16"

    @property
    def matrices(self) -> GGMLQuantizationType:
        """Type of the matrices of the decoder layers."""
        return GGMLQuantizationType[self.value]

    @property
    def embeddings(self) -> GGMLQuantizationType:
        """Type of the token embedding and of the output matrix: at least Q6_K."""
        return max(self.matrices, GGMLQuantizationType.Q6_K, key=_bits)


class FloatType(StrEnum):
    """Types that the matrices of a base GGUF can have; its vectors are always F32."""

    F16 = "F16"
    BF16 = "BF16"
    F32 = "F32"

    @property
    def file_type(self) -> LlamaFileType:
        """llama.cpp's `general.file_type`."""
        return LlamaFileType.ALL_F32 if self is FloatType.F32 else LlamaFileType[f"MOSTLY_{self.value}"]


def main_type(types: Iterable[tuple[TensorInfo, GGMLQuantizationType]]) -> GGMLQuantizationType:
    """The type that most weights of the layers' matrices have; of all tensors, in a model without such matrices."""
    weights: Counter[GGMLQuantizationType] = Counter()
    others: Counter[GGMLQuantizationType] = Counter()
    for info, dtype in types:
        (weights if info.name.endswith(_MATRICES) else others)[dtype] += info.rows * info.columns
    return (weights or others).most_common(1)[0][0]


def file_type(dtype: GGMLQuantizationType) -> LlamaFileType:
    """llama.cpp's `general.file_type` of a model mostly of this type; a K-quant's is that of its "small" variant."""
    names = (f"MOSTLY_{dtype.name}", f"MOSTLY_{dtype.name}_S", f"ALL_{dtype.name}")
    known = LlamaFileType.__members__
    return next((known[name] for name in names if name in known), LlamaFileType.GUESSED)


def storage_type(info: TensorInfo, quantization: Quantization) -> GGMLQuantizationType:
    """The type in which a tensor of the base GGUF is served when no LoRA touches it."""
    wanted = wanted_type(info, quantization)
    if quantization is Quantization.Q8_0 and info.type in _SLOW_IN_BATCHES:
        return wanted
    spare = _BITS_TO_SPARE if _is_quantized(info.type) else 0.0
    return info.type if _bits(info.type) <= _bits(wanted) + spare else wanted


def keeping_types(info: TensorInfo, quantization: Quantization) -> list[GGMLQuantizationType]:
    """Types for a tensor that a LoRA changes, smallest first: the one asked for, and larger ones that keep more.

    Of a tensor that the base GGUF holds in a small type already, only larger ones: stored anew in the same size, it
    would have the errors of two roundings.
    """
    wanted = wanted_type(info, quantization)
    middle, largest = (fitting_type(info.columns, GGMLQuantizationType[name]) for name in ("Q5_1", "Q8_0"))
    types = [wanted, *dict.fromkeys(dtype for dtype in (middle, largest) if _bits(dtype) > _bits(wanted))]
    if _is_quantized(info.type) and storage_type(info, quantization) is info.type:
        types = [dtype for dtype in types if _bits(dtype) > _bits(info.type)] or [largest]
    return types


def wanted_type(info: TensorInfo, quantization: Quantization) -> GGMLQuantizationType:
    """The type in which a tensor is served when its weights are written anew."""
    if len(info.shape) != 2:
        return info.type
    if info.name in _EMBEDDINGS:
        return fitting_type(info.columns, quantization.embeddings)
    if info.name.endswith(_MATRICES):
        return fitting_type(info.columns, quantization.matrices)
    return info.type


def fitting_type(columns: int, dtype: GGMLQuantizationType) -> GGMLQuantizationType:
    """`dtype`, or the type nearest to it whose blocks divide a row of `columns` weights."""
    for candidate in (dtype, _FITTING.get(dtype, GGMLQuantizationType.Q8_0)):
        if columns % GGML_QUANT_SIZES[candidate][0] == 0:
            return candidate
    return GGMLQuantizationType.F16


def _is_quantized(dtype: GGMLQuantizationType) -> bool:
    return GGML_QUANT_SIZES[dtype][0] > 1


def _bits(dtype: GGMLQuantizationType) -> float:
    weights, size = GGML_QUANT_SIZES[dtype]
    return 8 * size / weights


class Codec:
    """ggml's quantization functions.

    Args:
        library: Path of `libggml-base`; None finds the one that llama-cpp-python ships.

    Raises:
        MergeError: There is no such library, or it lacks a function.
    """

    def __init__(self, library: Path | None = None) -> None:
        path = library or _find_library()
        try:
            self._ggml = ctypes.CDLL(str(path))
            self._quantize = self._ggml.ggml_quantize_chunk
            self._validate = self._ggml.ggml_validate_row_data
            functions = {
                name: getattr(self._ggml, f"dequantize_row_{name.lower().replace('k', 'K')}") for name in _DECODERS
            }
            functions["F16"] = self._ggml.ggml_fp16_to_fp32_row
            functions["BF16"] = self._ggml.ggml_bf16_to_fp32_row
        except (OSError, AttributeError) as e:
            raise MergeError(
                f"cannot use {path.name} for quantization: {e}",
                hint="reinstall llama-cpp-python",
                code="quantization_unavailable",
            ) from e
        int64, pointer = ctypes.c_int64, ctypes.c_void_p
        self._quantize.argtypes = [ctypes.c_int, pointer, pointer, int64, int64, int64, pointer]
        self._quantize.restype = ctypes.c_size_t
        self._validate.argtypes = [ctypes.c_int, pointer, ctypes.c_size_t]
        self._validate.restype = ctypes.c_bool
        for function in functions.values():
            function.argtypes, function.restype = [pointer, pointer, int64], None
        self._decoders = {GGMLQuantizationType[name]: function for name, function in functions.items()}

    def encode(self, rows: npt.NDArray[np.float32], dtype: GGMLQuantizationType, name: str) -> npt.NDArray[np.uint8]:
        """Store weights as `dtype`.

        Args:
            rows: (rows, columns) float32, contiguous.
            dtype: F32, F16, BF16 or a quantized type without importance matrix.
            name: Of the tensor, for messages.

        Returns:
            (rows, bytes of a row) uint8.

        Raises:
            MergeError: A weight is NaN or infinite, or not representable in `dtype`.
        """
        import numpy as np

        if not np.isfinite(rows).all():
            raise _not_finite(name)
        if dtype is GGMLQuantizationType.F32:
            return rows.view(np.uint8)
        count, columns = rows.shape
        out = np.empty((count, row_bytes(columns, dtype)), np.uint8)
        rows = np.ascontiguousarray(rows, np.float32)
        written = self._quantize(int(dtype), rows.ctypes.data, out.ctypes.data, 0, count, columns, None)
        if written != out.nbytes:
            raise MergeError(f"ggml wrote {written} bytes of {name!r}, {out.nbytes} expected")
        # Block scales are float16: finite weights may still overflow them.
        if not self._validate(int(dtype), out.ctypes.data, out.nbytes):
            raise _not_finite(name)
        return out

    def decode(self, raw: npt.NDArray[np.uint8], dtype: GGMLQuantizationType, columns: int) -> npt.NDArray[np.float32]:
        """Read weights back.

        Args:
            raw: (rows, bytes of a row) uint8, contiguous.
            dtype: Their type.
            columns: Weights in a row.

        Returns:
            (rows, columns) float32; for F32 a view of `raw`.

        Raises:
            MergeError: The type cannot be read.
        """
        import numpy as np

        if dtype is GGMLQuantizationType.F32:
            return raw.view(np.float32)
        function = self._decoders.get(dtype)
        if function is None:
            raise MergeError(f"tensors of type {dtype.name} cannot be read", hint="use an F16, BF16 or Q8_0 base GGUF")
        out = np.empty((raw.shape[0], columns), np.float32)
        function(raw.ctypes.data, out.ctypes.data, out.size)
        return out


def _not_finite(name: str) -> MergeError:
    return MergeError(f"tensor {name!r} would hold weights that are not finite", code="weights_not_finite")


def _find_library() -> Path:
    spec = importlib.util.find_spec("llama_cpp")
    names = {"darwin": "libggml-base.dylib", "win32": "ggml-base.dll"}
    name = names.get(sys.platform, "libggml-base.so")
    if spec is None or spec.origin is None:
        raise MergeError(
            "llama-cpp-python is not installed", hint="pip install 'loragen[edge]'", code="quantization_unavailable"
        )
    return Path(spec.origin).parent / "lib" / name
