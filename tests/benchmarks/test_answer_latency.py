"""How answers are measured, three ways; at tiny shapes, where times mean nothing and are not looked at."""

from pathlib import Path

import pytest

from benchmarks import answer_latency
from benchmarks.answer_latency import Round, TimedAnswer
from benchmarks.tinyllama import ModelShape
from loragen.contract.lora import EdgeShape

TINY = ModelShape(EdgeShape(layers=2, hidden=256, intermediate=512), vocabulary=512, heads=4, kv_heads=2)


def test_answers_are_measured_three_ways_on_the_devices_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    figures = answer_latency.run(rounds=1, types=("Q4_0",), shape=TINY, threads=1)
    kinds = [f"{kind}_q4_0{way}" for kind in ("first_token", "answer") for way in ("", "_cached", "_speedup")]
    assert list(figures) == kinds
    assert [path.name for path in Path("build").iterdir()] == ["2x256x512x512-random-f16.gguf"]


def test_answer_figures_are_medians_of_specialized_over_prompted(monkeypatch: pytest.MonkeyPatch) -> None:
    def one(specialized: float, prompted: float, cached: float) -> Round:
        return Round(*(TimedAnswer(ms / 2, ms, 0, 32) for ms in (specialized, prompted, cached)))

    rounds = [one(10, 40, 20), one(12, 60, 24), one(99, 50, 99)]
    monkeypatch.setattr(answer_latency, "measure", lambda *_: rounds)
    figures = answer_latency.run(types=("Q4_0",))
    assert (figures["answer_q4_0"].value, figures["answer_q4_0"].baseline) == (12, 50)
    assert (figures["first_token_q4_0_cached"].value, figures["first_token_q4_0_cached"].baseline) == (6, 12)
    assert figures["answer_q4_0_speedup"].value == round(50 / 12, 3)
    assert figures["answer_q4_0_speedup"].target == 2.1
