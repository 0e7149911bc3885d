"""Rule: how much a closed set asks for a judgement of an input, such as good or bad, and not for its subject.

Judgements are answered worse than subjects, so the confidence in a set reads this.
"""

import torch
from torch import Tensor

JUDGEMENTS = ("yes", "no", "true", "false", "good", "bad", "positive", "negative")
"""Choices near to one of these ask what to think of an input, not what it is about."""


def likeness_to_judgements(choices: Tensor, judgements: Tensor) -> float:
    """How near choices are to a judgement: the mean over them of the cosine to the nearest word.

    Args:
        choices: (choices, encoder) float32, of unit length.
        judgements: (words, encoder) float32, those of `JUDGEMENTS`.
    """
    return torch.mean((choices @ judgements.T).max(1).values).item()
