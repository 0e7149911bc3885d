"""What a grammar costs: both ways are measured, the first round by itself."""

from benchmarks import grammar_cost
from tests.edge_runtime.fakes import FakeEngine, FakeLoader


def test_text_is_the_baseline_of_json() -> None:
    engine = FakeEngine([b"one ", b"two "], FakeLoader())
    engine.context_tokens = 512
    figures = grammar_cost.measure(engine, rounds=2)
    assert set(figures) == {"grammar_greedy_token_ms", "grammar_drawn_token_ms"}
    for figure in figures.values():
        assert figure.baseline is not None
        assert figure.value > 0
    assert len(engine.prefilled) == 2 * 2 * 3
