"""Random models of TinyLlama's form: made once, and mergeable with their LoRA."""

from pathlib import Path

import pytest

from benchmarks.tinyllama import MODEL_ID, ModelShape, ensure_base, make_bundle
from loragen.contract.bundle import encode_bundle, parse_bundle
from loragen.contract.lora import EdgeShape

TINY = ModelShape(EdgeShape(layers=2, hidden=256, intermediate=512), vocabulary=512, heads=4, kv_heads=2)


def test_base_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = ensure_base(TINY)
    before = path.stat().st_mtime_ns
    assert ensure_base(TINY) == path
    assert path.stat().st_mtime_ns == before


def test_bundle_is_one_and_the_same_each_time() -> None:
    data = encode_bundle(make_bundle(TINY))
    assert data == encode_bundle(make_bundle(TINY))
    assert parse_bundle(data).header.edge_model_id == MODEL_ID
