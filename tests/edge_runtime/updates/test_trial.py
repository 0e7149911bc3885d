"""The trial lets sound candidates pass, and finds broken ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import CanaryError, ModelLoadError, ModelOutputError
from edge_runtime.gguf.base_gguf import BaseGguf
from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge import merge, quantize_base
from edge_runtime.serving.engine import Likelihood, Steps, Token
from edge_runtime.serving.llama import LlamaLoader
from edge_runtime.updates.trial import CONTEXT_TOKENS, Candidate, TrialReport, try_candidate, verify_bounds
from loragen.contract.bundle import Bundle
from loragen.contract.gguf_adapter import GgufModel, write_gguf_adapter
from loragen.contract.lora import Lora
from tests.edge_runtime.fakes import FakeEngine, FakeLoader, FakeSequence


def loader() -> LlamaLoader:
    return LlamaLoader(CONTEXT_TOKENS, 1, repack=False)


def adapter_of(bundle: Bundle, base_gguf: Path, path: Path) -> Path:
    with BaseGguf(base_gguf) as opened:
        write_gguf_adapter(bundle, path, GgufModel.of(opened.header))
    return path


def stronger(bundle: Bundle, times: float) -> Bundle:
    factors = {block: ((A * np.float16(times)), B) for block, (A, B) in bundle.lora.factors.items()}
    return Bundle(bundle.header, Lora(bundle.lora.shape, factors))


@pytest.fixture
def base(base_gguf: Path, tmp_path: Path) -> Path:
    return quantize_base(base_gguf, tmp_path / "base.gguf", Quantization.Q8_0)


def test_sound_adapter_and_its_merge_pass(base_gguf: Path, base: Path, bundle: Bundle, tmp_path: Path) -> None:
    adapter = adapter_of(bundle, base_gguf, tmp_path / "a.gguf")
    report = try_candidate(loader(), Candidate(base, adapter, base))
    assert report.agreement is None
    assert 0 < abs(report.loss - report.base_loss) < 1
    merged = tmp_path / "m.gguf"
    merge(base_gguf, bundle, merged, Quantization.Q8_0)
    report = try_candidate(loader(), Candidate(merged, None, base, adapter))
    assert report.agreement is not None
    assert 0.9 < report.agreement <= 1


def test_merge_of_another_lora_does_not_agree(base_gguf: Path, base: Path, bundle: Bundle, tmp_path: Path) -> None:
    adapter = adapter_of(bundle, base_gguf, tmp_path / "a.gguf")
    merged = tmp_path / "m.gguf"
    merge(base_gguf, stronger(bundle, 12.0), merged, Quantization.Q8_0)
    with pytest.raises(CanaryError, match="agrees with its adapter to 0"):
        try_candidate(loader(), Candidate(merged, None, base, adapter))


def test_file_that_does_not_load_is_said_so(base: Path, tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelLoadError):
        try_candidate(loader(), Candidate(base, tmp_path / "a.gguf", base))
    with pytest.raises(ModelLoadError, match="does not exist"):
        try_candidate(loader(), Candidate(base, tmp_path / "none.gguf", base))


class ScriptedSequence(FakeSequence):
    """Finds every token as likely as the engine's file says."""

    def score(self, prompt: Sequence[int], count: int) -> Steps[list[Token]]:
        yield
        (word,) = self.engine.words
        if word.strip() == b"NaN":
            raise ModelOutputError("the model's logits are not finite")
        one = Likelihood(b"x", -float(word))
        return [Token(b"x"), *[Token(b"x", False, one, (one,))] * 8]


class ScriptedEngine(FakeEngine):
    def open(self) -> FakeSequence:
        super().open()
        return ScriptedSequence(self)


class ScriptedLoader(FakeLoader):
    def load(self, model: Path, adapter: Path | None) -> FakeEngine:
        return ScriptedEngine(super().load(model, adapter).words, self)


def test_engines_are_closed_however_the_trial_ends(tmp_path: Path) -> None:
    good, insane, gone = tmp_path / "good", tmp_path / "insane", tmp_path / "gone"
    good.write_text("2")
    insane.write_text("NaN")
    scripted = ScriptedLoader()
    assert try_candidate(scripted, Candidate(good, None, good, good)) == TrialReport(2.0, 2.0, 1.0)
    with pytest.raises(ModelOutputError):
        try_candidate(scripted, Candidate(insane, None, good))
    with pytest.raises(ModelLoadError):
        try_candidate(scripted, Candidate(good, None, good, gone))
    assert scripted.open == 0
    assert scripted.most_open == 2


@pytest.mark.parametrize(
    ("report", "passes"),
    [
        (TrialReport(3.0, 2.0), True),
        (TrialReport(5.0, 2.0), True),
        (TrialReport(6.3, 2.0), True),  # a guess among 600 tokens has 6.4
        (TrialReport(6.5, 2.0), False),
        (TrialReport(12.0, 10.0), True),
        (TrialReport(13.5, 10.0), False),
        (TrialReport(3.0, 2.0, 0.74), False),
        (TrialReport(3.0, 2.0, 0.76), True),
    ],
)
def test_bounds(report: TrialReport, passes: bool) -> None:
    if passes:
        verify_bounds(report, 600)
    else:
        with pytest.raises(CanaryError):
            verify_bounds(report, 600)
