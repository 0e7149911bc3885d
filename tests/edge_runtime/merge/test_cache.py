"""Tensors that no bundle touches are quantized once, and never taken from a damaged cache."""

import errno
import os
import shutil

import pytest

from edge_runtime.gguf.quantization import Codec, Quantization
from edge_runtime.merge import merge
from loragen.contract.names import gguf_name


class CountingCodec(Codec):
    """Remembers which tensors were quantized."""

    encoded: set[str]

    def encode(self, rows, dtype, name):
        type(self).encoded.add(name)
        return super().encode(rows, dtype, name)


@pytest.fixture
def encoded(monkeypatch):
    """Names of the tensors quantized since the test began."""
    CountingCodec.encoded = set()
    monkeypatch.setattr("edge_runtime.merge.merger.Codec", CountingCodec)
    return CountingCodec.encoded


def test_untouched_tensors_are_quantized_once(base_gguf, bundle, tmp_path, encoded):
    merge(base_gguf, bundle, tmp_path / "first.gguf", Quantization.Q4_0, tmp_path / "cache")
    assert {"token_embd.weight", "blk.1.attn_q.weight"} <= encoded
    encoded.clear()
    merge(base_gguf, bundle, tmp_path / "second.gguf", Quantization.Q4_0, tmp_path / "cache")
    assert encoded == {gguf_name(*block) for block in bundle.lora.shape.blocks()}
    merge(base_gguf, bundle, tmp_path / "without.gguf", Quantization.Q4_0)
    first, second, without = ((tmp_path / f"{n}.gguf").read_bytes() for n in ("first", "second", "without"))
    assert first == second == without


def test_cache_is_made_anew_for_a_changed_base_or_type_and_the_old_one_goes(base_gguf, bundle, tmp_path, encoded):
    shutil.copy(base_gguf, tmp_path / "base.gguf")
    merge(tmp_path / "base.gguf", bundle, tmp_path / "out.gguf", Quantization.Q4_0, tmp_path / "cache")
    for change in ("base_model", "type"):
        encoded.clear()
        if change == "base_model":
            os.utime(tmp_path / "base.gguf", ns=(0, 1))
        quantization = Quantization.Q8_0 if change == "type" else Quantization.Q4_0
        merge(tmp_path / "base.gguf", bundle, tmp_path / "out.gguf", quantization, tmp_path / "cache")
        assert "token_embd.weight" in encoded, change
        assert len(list((tmp_path / "cache").glob("*.gguf"))) == len(list((tmp_path / "cache").glob("*.crc32"))) == 1


@pytest.mark.parametrize("damage", ["empty", "magic", "zeros", "one bit", "no checksum"])
def test_damaged_cache_is_made_anew(damage, base_gguf, bundle, tmp_path, encoded):
    merge(base_gguf, bundle, tmp_path / "first.gguf", Quantization.Q4_0, tmp_path / "cache")
    (cache,) = (tmp_path / "cache").glob("*.gguf")
    data = cache.read_bytes()
    flipped = data[:-100] + bytes([data[-100] ^ 4]) + data[-99:]
    cache.write_bytes({"empty": b"", "magic": b"GGUF", "zeros": b"\0" * 5000, "one bit": flipped}.get(damage, data))
    if damage == "no checksum":
        cache.with_name(cache.name + ".crc32").unlink()
    encoded.clear()
    merge(base_gguf, bundle, tmp_path / "second.gguf", Quantization.Q4_0, tmp_path / "cache")
    assert "token_embd.weight" in encoded
    assert (tmp_path / "first.gguf").read_bytes() == (tmp_path / "second.gguf").read_bytes()


def test_cached_bytes_reach_the_file_where_the_kernel_cannot_copy(base_gguf, bundle, tmp_path, monkeypatch):
    """copy_file_range does not work between all file systems, nor on all systems."""

    def cannot(*_: object) -> int:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    merge(base_gguf, bundle, tmp_path / "first.gguf", Quantization.Q4_0)
    monkeypatch.setattr(os, "copy_file_range", cannot)
    merge(base_gguf, bundle, tmp_path / "second.gguf", Quantization.Q4_0, tmp_path / "cache")
    assert (tmp_path / "first.gguf").read_bytes() == (tmp_path / "second.gguf").read_bytes()
