"""Blocks made and read through ggml agree with the gguf package, and each tensor gets a type it can have."""

import subprocess
import sys

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

from edge_runtime.errors import MergeError
from edge_runtime.gguf.quantization import (
    Codec,
    Quantization,
    file_type,
    fitting_type,
    keeping_types,
    main_type,
    storage_type,
)
from loragen.contract.gguf_header import TensorInfo

ROWS = np.random.default_rng(0).standard_normal((6, 512)).astype(np.float32)
# Largest mean error of Gaussian weights, in standard deviations.
ERRORS = {"Q4_0": 0.1, "Q4_K": 0.08, "Q5_K": 0.04, "Q6_K": 0.02, "Q8_0": 0.01, "F16": 1e-3, "BF16": 5e-3, "F32": 0.0}


@pytest.mark.parametrize("name", ERRORS)
def test_encode_then_decode_is_near_and_equals_the_gguf_package(name):
    codec, dtype = Codec(), GGMLQuantizationType[name]
    raw = codec.encode(ROWS, dtype, "x")
    decoded = codec.decode(raw, dtype, 512)
    assert np.abs(decoded - ROWS).mean() <= ERRORS[name]
    # The same blocks; float32 products may differ in their last bit.
    assert np.allclose(decoded, dequantize(raw, dtype).reshape(decoded.shape), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "Q2_K", "Q3_K"])
def test_types_that_a_foreign_base_may_have_are_read(name):
    codec, dtype = Codec(), GGMLQuantizationType[name]
    raw = codec.encode(ROWS, dtype, "x")
    assert np.allclose(codec.decode(raw, dtype, 512), dequantize(raw, dtype).reshape(6, 512), rtol=1e-5, atol=1e-6)


def test_type_that_cannot_be_read_is_refused():
    with pytest.raises(MergeError, match="IQ2_XS"):
        Codec().decode(np.zeros((1, 74), np.uint8), GGMLQuantizationType.IQ2_XS, 256)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ERRORS)
def test_weights_that_are_not_finite_are_refused(name, bad):
    rows = ROWS.copy()
    rows[3, 77] = bad
    with pytest.raises(MergeError, match=r"blk\.0") as caught:
        Codec().encode(rows, GGMLQuantizationType[name], "blk.0")
    assert caught.value.code == "weights_not_finite"


def info(name: str, *shape: int, dtype: str = "F16") -> TensorInfo:
    return TensorInfo(name, shape, GGMLQuantizationType[dtype], 0)


@pytest.mark.parametrize(
    ("tensor", "requested", "expected"),
    [
        (info("blk.0.ffn_up.weight", 512, 256), "Q4_K", "Q4_K"),
        (info("blk.0.attn_q.weight", 512, 256), "Q4_0", "Q4_0"),
        (info("token_embd.weight", 512, 256), "Q4_K", "Q6_K"),
        (info("output.weight", 512, 256), "Q4_0", "Q6_K"),
        (info("token_embd.weight", 512, 256), "Q8_0", "Q8_0"),
        (info("blk.0.ffn_down.weight", 256, 96), "Q4_K", "IQ4_NL"),
        (info("blk.0.ffn_down.weight", 256, 96), "Q5_K", "Q5_0"),
        (info("blk.0.ffn_down.weight", 256, 96), "Q6_K", "Q8_0"),
        (info("blk.0.ffn_up.weight", 512, 256, dtype="Q4_1"), "Q4_K", "Q4_1"),
        (info("blk.0.ffn_up.weight", 512, 256, dtype="Q4_1"), "Q8_0", "Q8_0"),  # it is slow in batches
        (info("blk.0.ffn_up.weight", 512, 96, dtype="Q5_1"), "Q8_0", "Q8_0"),
        (info("blk.0.ffn_up.weight", 512, 96, dtype="Q4_1"), "Q6_K", "Q4_1"),
        (info("blk.0.ffn_up.weight", 512, 256, dtype="Q5_0"), "Q4_K", "Q4_K"),
        (info("token_embd.weight", 512, 96, dtype="Q8_0"), "Q4_K", "Q8_0"),
        (info("blk.0.ffn_down.weight", 256, 96), "Q4_0", "Q4_0"),
        (info("token_embd.weight", 512, 96), "Q4_0", "Q8_0"),
        (info("blk.0.ffn_down.weight", 256, 40), "Q5_K", "F16"),
        (info("blk.0.attn_norm.weight", 256, dtype="F32"), "Q4_K", "F32"),
        (info("blk.0.attn_q.bias", 256, dtype="F32"), "Q4_K", "F32"),
        (info("blk.0.ssm_conv.weight", 256, 256), "Q4_K", "F16"),
        (info("blk.0.ffn_up.weight", 512, 256, dtype="Q4_0"), "Q8_0", "Q4_0"),
        (info("blk.0.ffn_up.weight", 512, 256, dtype="Q8_0"), "Q4_K", "Q4_K"),
        (info("blk.0.ffn_up.weight", 512, 256, dtype="BF16"), "F16", "BF16"),
        (info("blk.0.ffn_up.weight", 512, 256, dtype="F32"), "F16", "F16"),
    ],
)
def test_tensor_is_stored_as_requested_or_in_the_next_type_that_fits(tensor, requested, expected):
    assert storage_type(tensor, Quantization(requested)).name == expected


@pytest.mark.parametrize(
    ("tensor", "requested", "expected"),
    [
        (info("blk.0.ffn_up.weight", 512, 256), "Q4_K", ["Q4_K", "Q5_1", "Q8_0"]),
        (info("blk.0.ffn_up.weight", 512, 96), "Q4_K", ["IQ4_NL", "Q5_1", "Q8_0"]),
        (info("blk.0.ffn_up.weight", 512, 256), "Q6_K", ["Q6_K", "Q8_0"]),
        (info("blk.0.ffn_up.weight", 512, 256), "F16", ["F16"]),
        (info("blk.0.ffn_up.weight", 512, 40), "Q4_K", ["F16"]),
        (info("blk.0.ffn_up.weight", 512, 96, dtype="Q4_1"), "Q4_K", ["Q5_1", "Q8_0"]),
        (info("blk.0.ffn_up.weight", 512, 96, dtype="Q5_1"), "Q5_K", ["Q8_0"]),
        (info("blk.0.ffn_up.weight", 512, 96, dtype="Q8_0"), "Q8_0", ["Q8_0"]),
        (info("blk.0.ffn_up.weight", 512, 256, dtype="Q8_0"), "Q4_K", ["Q4_K", "Q5_1", "Q8_0"]),
    ],
)
def test_delta_is_kept_in_larger_types_where_it_must(tensor, requested, expected):
    assert [dtype.name for dtype in keeping_types(tensor, Quantization(requested))] == expected


def test_file_type_is_that_of_most_weights_of_the_layers():
    types = [
        (info("token_embd.weight", 4096, 256), GGMLQuantizationType.Q8_0),
        (info("blk.0.attn_q.weight", 256, 256), GGMLQuantizationType.Q4_1),
        (info("blk.0.ffn_up.weight", 512, 256), GGMLQuantizationType.Q4_K),
        (info("blk.0.attn_norm.weight", 256), GGMLQuantizationType.F32),
    ]
    assert main_type(types) is GGMLQuantizationType.Q4_K
    assert main_type(types[:2]) is GGMLQuantizationType.Q4_1
    found = {
        name: int(file_type(GGMLQuantizationType[name])) for name in ("F32", "F16", "Q4_1", "Q8_0", "Q4_K", "IQ4_NL")
    }
    assert found == {"F32": 0, "F16": 1, "Q4_1": 3, "Q8_0": 7, "Q4_K": 14, "IQ4_NL": 25}


def test_fitting_type_of_any_row_divides_it():
    for columns in range(1, 600):
        for quantization in Quantization:
            assert columns % GGML_QUANT_SIZES[fitting_type(columns, quantization.matrices)][0] == 0


def test_missing_library_is_a_clear_error(tmp_path, monkeypatch):
    with pytest.raises(MergeError, match="libggml-base") as caught:
        Codec(tmp_path / "libggml-base.so")
    assert caught.value.code == "quantization_unavailable"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MergeError, match="not installed"):
        Codec()


def test_codec_does_not_import_llama_cpp():
    """The binding is imported in one file, and costs a second and its native libraries."""
    script = (
        "import sys; from edge_runtime.gguf.quantization import Codec; Codec(); assert 'llama_cpp' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
