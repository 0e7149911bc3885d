"""Refines the keys of a closed set: a convex problem on what the edge model reads once.

The choice head lies in the last layer, so its input does not depend on the keys. With z what its A makes of an input
and k_i the keys, code i gets, before the final norm divides by the size of the state, the score

    u_i = a_i + sum_j M_ij k_j . z          a_i without the head, M the overlap of code directions (nearly the identity)

Softmax regression on the labelled examples moves the keys, and a ridge keeps them near those of the one-pass
generation. Scores are divided by the size that each state has under the one-pass keys and by a temperature, since the
head is made to be sure of itself. How strong the ridge is, held-out examples decide: each is held out in turn, and
scored as it is served, through the final norm and with the rounding of a bundle.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cloud_service.generator.last_layer import LastLayer, LastStates
from cloud_service.refinement import ExampleScore, OnProgress, RefinementOutcome, Stopped
from loragen.contract.choice_head import choice_factors
from loragen.contract.lora import FactorPair

FOLDS = 5
STRENGTHS = (10.0, 1.0, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
"""Of the ridge, against the sum of the examples' losses; inputs are scaled to length 1 on average."""

SMOOTHING = 0.1
"""Of labels while the temperature is found: else examples that are all right would make it zero."""

MOST_ITERATIONS = 80

LARGEST_FACTOR = 65_000.0
"""A little below the largest float16."""


@dataclass(frozen=True, slots=True)
class ClosedSet:
    """A closed set on a head, with examples.

    Attributes:
        layer: The edge model's last layer.
        head: The head's A (rank, inner) and B (hidden, codes), float16.
        codes: Tokens of the choices.
        keys: (1, choices, rank) float32, from the one-pass generation.
        states: The end of each example's input.
        expected: (examples,) int64, the right choice of each.
    """

    layer: LastLayer
    head: FactorPair
    codes: tuple[int, ...]
    keys: NDArray[np.float32]
    states: LastStates
    expected: Tensor

    def logits(self, keys: NDArray[np.float32], numbers: Sequence[int]) -> Tensor:
        """What is served: logits of the codes (examples, choices) under keys (1, choices, rank)."""
        a, b = (torch.tensor(each).float().to(self.states.read.device) for each in choice_factors(self.head, keys[0]))
        chosen = list(numbers)
        states = LastStates(*(each[chosen] for each in (self.states.read, self.states.written, self.states.rest)))
        return self.layer.code_logits(states, states.read @ a.T @ b.T, self.codes)

    def fits(self, keys: NDArray[np.float32]) -> bool:
        """Whether a bundle can hold keys (1, choices, rank): its factors are float16."""
        directions = self.head[1][:, : keys.shape[1]].astype(np.float32)
        return bool(np.abs(directions @ keys[0]).max() < LARGEST_FACTOR)


class _Problem:
    """The softmax regression, in float64 on the CPU; the change of keys is W times `unit`."""

    def __init__(self, closed: ClosedSet) -> None:
        a, b = (torch.tensor(each).double() for each in closed.head)
        states = closed.states
        read, written, rest = (each.cpu().double() for each in (states.read, states.written, states.rest))
        rows, directions = closed.layer.code_rows(closed.codes).cpu().double(), b[:, : len(closed.codes)]
        keys = torch.tensor(closed.keys[0]).double()
        z = read @ a.T  # (examples, rank)
        overlap = rows @ directions  # M, (choices, choices)
        plain = written + rest
        size = (plain + z @ (directions @ keys).T).square().mean(1, keepdim=True).sqrt()
        start = (plain @ rows.T + z @ keys.T @ overlap.T) / size  # one-pass scores, (examples, choices)
        self._expected = closed.expected.cpu()
        temperature = _temperature(start, self._expected)
        self.start = start / temperature
        features = z / (size * temperature)
        self.unit = features.square().sum(1).mean().clamp_min(1e-30).rsqrt()
        self._features, self._overlap = features * self.unit, overlap

    def solve(self, numbers: Sequence[int], strength: float) -> NDArray[np.float32]:
        """The change of keys, (choices, rank) float32, that these examples ask for."""
        chosen = list(numbers)
        start, features, expected = self.start[chosen], self._features[chosen], self._expected[chosen]
        change = torch.zeros(self.start.shape[1], features.shape[1], dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([change], max_iter=MOST_ITERATIONS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            scores = start + features @ change.T @ self._overlap.T
            found = nn.functional.cross_entropy(scores, expected, reduction="sum")
            found = (found + 0.5 * strength * change.square().sum()) / len(chosen)
            found.backward()
            return found

        with torch.enable_grad():
            optimizer.step(loss)
        return (change.detach() * self.unit).numpy().astype(np.float32)


def tune_keys(
    closed: ClosedSet, parts: Sequence[Sequence[int]], deadline: float, on_progress: OnProgress
) -> tuple[NDArray[np.float32], RefinementOutcome]:
    """Keys that answer held-out examples at least as well as the given ones.

    Args:
        closed: The set and its examples.
        parts: Numbers of the examples that are held out in turn; those of no part are always trained on.
        deadline: Monotonic time at which the best so far is taken.
        on_progress: Called between problems.

    Returns:
        (1, choices, rank) float32, tuned on all examples; and the report.
    """
    started = time.monotonic()
    everything, held_out = range(len(closed.expected)), [number for part in parts for number in part]
    total, solved = len(STRENGTHS) * len(parts) + 1, 0
    before = best = _score(closed, [(closed.keys, held_out)])
    problem = _Problem(closed)
    chosen: float | None = None
    stopped: Stopped = "steps"
    for strength in STRENGTHS:
        tuned = []
        for part in parts:
            if time.monotonic() > deadline:
                break
            on_progress(solved, total)
            rest = sorted(set(everything) - set(part))
            tuned.append((closed.keys + problem.solve(rest, strength), part))
            solved += 1
        if len(tuned) < len(parts):
            stopped = "budget"
            break
        if not all(closed.fits(keys) for keys, _ in tuned):
            continue
        score = _score(closed, tuned)
        if score.is_better_than(best):
            best, chosen = score, strength
    keys = closed.keys
    if chosen is not None:
        keys = closed.keys + problem.solve(everything, chosen)
        solved += 1
        if not closed.fits(keys):
            keys, best, chosen = closed.keys, before, None
    on_progress(total, total)
    counts, seconds = (len(everything), len(held_out)), time.monotonic() - started
    return keys, RefinementOutcome("keys", chosen is not None, *counts, before, best, solved, seconds, stopped)


def _score(closed: ClosedSet, tuned: Sequence[tuple[NDArray[np.float32], Sequence[int]]]) -> ExampleScore:
    """The score of keys on the examples beside them, all together."""
    right, loss, count = 0, 0.0, 0
    for keys, numbers in tuned:
        logits, expected = closed.logits(keys, numbers), closed.expected[list(numbers)]
        right += int((logits.argmax(-1) == expected).sum())
        loss += float(nn.functional.cross_entropy(logits, expected, reduction="sum"))
        count += len(numbers)
    return ExampleScore(right / count, loss / count)


def _temperature(scores: Tensor, expected: Tensor) -> Tensor:
    """What scores are best divided by, of some hundred values."""
    tried = scores.abs().max().clamp_min(1e-9) * torch.logspace(-3, 1, 81, dtype=scores.dtype)
    losses = [nn.functional.cross_entropy(scores / each, expected, label_smoothing=SMOOTHING) for each in tried]
    return tried[int(torch.stack(losses).argmin())]
