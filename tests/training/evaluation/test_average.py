"""The mean gates, over what is answered by gates."""

from types import SimpleNamespace
from typing import Any

import pytest

from training.evaluation.average import mean_gates


def generated(gate: float, *codes: int) -> Any:
    return SimpleNamespace(gates=(((gate,),),), answer=SimpleNamespace(codes=codes))


def test_average_leaves_out_what_is_answered_by_keys() -> None:
    assert mean_gates([generated(1.0), generated(0.0, 7, 8), generated(2.0)]).tolist() == [[[1.5]]]
    with pytest.raises(ValueError, match="no average"):
        mean_gates([generated(0.0, 7, 8)])
