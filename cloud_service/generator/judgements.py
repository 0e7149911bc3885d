"""Rule: whether a closed set asks for a judgement of an input, such as good or bad, and not for its subject.

The choice head alone tells subjects apart; label experts are for judgements.
"""

import torch
from torch import Tensor

JUDGEMENTS = ("yes", "no", "true", "false", "good", "bad", "positive", "negative")
"""Choices near to one of these ask what to think of an input, not what it is about."""

LEAST_LIKENESS = 0.36
"""Mean cosine of the choices to the nearest word above. Found on sets of labels: *billing, technical, sales* has 0.27,
*urgent, routine* 0.22, *joy, anger, sadness, fear* 0.38, *satisfied, disappointed* 0.41."""


def likeness_to_judgements(choices: Tensor, judgements: Tensor) -> float:
    """How near choices are to a judgement: the mean over them of the cosine to the nearest word.

    Args:
        choices: (choices, encoder) float32, of unit length.
        judgements: (words, encoder) float32, those of `JUDGEMENTS`.
    """
    return torch.mean((choices @ judgements.T).max(1).values).item()
