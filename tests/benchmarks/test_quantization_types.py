"""The table of block types: what its columns say, on models that are made up."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.quantization_types import Agreement, F16Reference, Row, inputs_of_the_demo, table


class MadeUpModel:
    """Says the same logits after every token: those it was given."""

    def __init__(self, *logits: float) -> None:
        self._row = np.array(logits, np.float32)

    def tokens(self, text: str) -> list[int]:
        return [len(text)]

    def answer(self, tokens: Sequence[int], count: int) -> list[int]:
        return [*tokens, *[0] * count]

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        return np.tile(self._row, (len(tokens), 1))


def test_model_agrees_with_itself_whatever_its_logits_add_up_to() -> None:
    reference = F16Reference(MadeUpModel(1.0, 2.0, 0.0), ["a", "bc"])
    found = reference.agreement(MadeUpModel(101.0, 102.0, 100.0))
    assert found.kl == pytest.approx(0.0, abs=1e-5)
    assert found.top_1 == 1.0


def test_divergence_is_that_of_the_distributions() -> None:
    """Of (1/2, 1/2) from (3/4, 1/4)."""
    reference = F16Reference(MadeUpModel(0.0, 0.0), ["a"])
    found = reference.agreement(MadeUpModel(float(np.log(3.0)), 0.0))
    assert found.kl == pytest.approx(0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25))
    assert F16Reference(MadeUpModel(0.0, 1.0), ["a"]).agreement(MadeUpModel(1.0, 0.0)).top_1 == 0.0


def test_table_has_a_line_for_each_type() -> None:
    row = Row("Q5_1", 104_000_000, Agreement(0.0123, 0.9876), 20.0, 110_000_000, Agreement(0.1, 0.9), 0.953)
    head, rule, line = table([row]).splitlines()
    assert line == "| Q5_1 | 104.0 | 0.012 | 98.8% | 110.0 | 0.95 | 0.100 | 90.0% | 20.0 |"
    assert head.count("|") == rule.count("|") == line.count("|")


def test_texts_come_from_every_task_of_the_demo(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    texts = inputs_of_the_demo(20)
    assert len(set(texts)) == 20
