"""A slot for several clients: each way is measured, on a tiny model."""

from pathlib import Path

import pytest

from benchmarks import shared_slot
from edge_runtime.convert import FloatType, convert_model
from tests.edge_runtime.tiny_models import byte_level_tokenizer, llama_config, random_model, save_tokenizer


@pytest.mark.slow
def test_every_way_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random_model(llama_config(), seed=5, scale=0.1).save_pretrained(tmp_path)
    save_tokenizer(byte_level_tokenizer(), tmp_path)
    convert_model(tmp_path, tmp_path / "base.gguf", FloatType.F16, "tiny-edge")
    monkeypatch.setattr(shared_slot, "CONTEXT_TOKENS", 256)
    monkeypatch.setattr(shared_slot, "_LONG", "word " * 20)
    monkeypatch.setattr(shared_slot, "_SHORT", "word")
    monkeypatch.setattr(shared_slot, "ANSWER_TOKENS", 4)
    figures = shared_slot.run(rounds=1, sequences=2, model=tmp_path / "base.gguf", threads=1)
    assert figures["slot_single_stream"].target == shared_slot.LEAST_SINGLE
    for figure in figures.values():
        assert figure.value >= 0
    beside = figures["slot_first_token_beside_prompt"]
    assert beside.baseline is not None
    assert beside.target == pytest.approx(3 * beside.baseline, rel=0.01)
