"""Refines the gates of an open task: by gradient through the frozen edge model, with the LoRA un-merged.

Bank, encoder and edge model stay as they are, and so does every gate that is zero, so that the LoRA keeps its rank. The
best gates so far are those under which held-out examples are answered best, as a device would: by the bundle that the
gates make. When they get no better for long, it stops early.
"""

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from cloud_service.generator.answer_batch import (
    AnswerBatch,
    answer_logits,
    answer_loss,
    answer_losses,
    exact_answers,
)
from cloud_service.generator.edge import Factors, UnmergedLora, lora_factors
from cloud_service.generator.experts import MIXTURES
from cloud_service.refinement import ExampleScore, OnProgress, RefinementOutcome, Stopped
from loragen.contract.assembly import assemble
from loragen.contract.bank import Bank
from loragen.contract.errors import ContractError

Encoded = tuple[list[int], list[int]]
"""Ids of a question, and of its answer with its end."""

ROWS = 8
"""Examples of one step, and of those that are scored at once."""

MOST_TOKENS = 1_024
"""Of one step, padding included; long examples come in fewer rows. What 18 layers of SmolLM2 keep for the gradient of
so many takes about 1 GB."""

SCORED_EVERY = 5
PATIENCE = 4
"""So many scores without a gain end it."""

LEARNING_RATE = 0.3
"""In units of the root mean square of the gates. 0.1 learns slower, and 1 is past the best (docs/experiments.md)."""

WORST = ExampleScore(0.0, 1e9)

WARMUP = 3
LAST_SHARE = 0.1
"""Of the learning rate, at the last step."""


class BankMixture:
    """The experts of a bank in torch, mixed under gates so that gradients reach them."""

    def __init__(self, bank: Bank, device: torch.device, dtype: torch.dtype) -> None:
        self._header = bank.header
        self._experts = {
            block: tuple(torch.tensor(each).to(device, dtype) for each in bank.factors(*block))
            for block in bank.header.blocks()
        }

    def __call__(self, gates: Tensor) -> Factors:
        """The LoRA of one task under gates (layers, groups, experts), with the scale in B."""
        mix, scale, groups = MIXTURES[self._header.mix], float(self._header.scale), self._header.groups
        factors = {}
        for place, (block, (a, b)) in enumerate(self._experts.items()):
            group = place % 3 if groups == 3 else 0  # blocks are gate, up, down of each layer
            share = gates[block[0] - self._header.first_layer, group][None].to(a.dtype)
            mixed_a, mixed_b = mix(share, a, b)
            factors[block] = (mixed_a, scale * mixed_b)
        return factors


@dataclass(frozen=True, slots=True)
class OpenTask:
    """An open task with examples.

    Attributes:
        model: The frozen edge model.
        unmerged: Adds a LoRA to it.
        bank: The experts.
        gates: (layers, groups, experts) float32, from the one-pass generation.
        trained: Examples to tune on.
        held_out: Examples to score on.
        gives: Whether a device that holds answers to a contract gives an answer, from its ids and the logits
            (answer tokens, vocabulary) float32 that predict them; None where it writes the likeliest tokens.
    """

    model: PreTrainedModel
    unmerged: UnmergedLora
    bank: Bank
    gates: NDArray[np.float32]
    trained: Sequence[Encoded]
    held_out: Sequence[Encoded]
    gives: Callable[[list[int], Tensor], bool] | None = None

    @torch.no_grad()
    def score(self, gates: NDArray[np.float32]) -> ExampleScore:
        """The held-out score under the bundle that gates make; the worst there is where they make none."""
        device = self.model.device
        try:
            lora = assemble(self.bank, gates)
        except ContractError:
            return WORST
        factors = {key: (a.to(device), b.to(device)) for key, (a, b) in lora_factors(lora).items()}
        right, loss = 0, 0.0
        waiting = sorted(self.held_out, key=lambda each: sum(map(len, each)))
        while waiting:
            rows = _take(waiting)
            batch = AnswerBatch.of(rows).to(device)
            with self.unmerged.applied(factors):
                logits = answer_logits(self.model, batch)
            if self.gives is None:
                right += int(exact_answers(logits, batch).sum())
            else:
                answers = [answer for _, answer in rows]
                each = logits.split([len(answer) for answer in answers])
                right += sum(map(self.gives, answers, each))
            loss += float(answer_losses(logits, batch).sum())
        score = ExampleScore(right / len(self.held_out), loss / len(self.held_out))
        return score if math.isfinite(score.loss) else WORST


def tune_gates(
    task: OpenTask, steps: int, deadline: float, on_progress: OnProgress
) -> tuple[NDArray[np.float32], RefinementOutcome]:
    """Gates that answer held-out examples at least as well as the given ones.

    Args:
        task: The task and its examples.
        steps: Most steps.
        deadline: Monotonic time at which the best so far is taken; no step begins that would probably end after it.
        on_progress: Called between steps.

    Returns:
        (layers, groups, experts) float32, and the report.
    """
    started = time.monotonic()
    on_progress(0, steps)
    best_gates, best = task.gates, task.score(task.gates)
    before = best
    mixture = BankMixture(task.bank, task.model.device, task.model.dtype)
    gates = torch.tensor(task.gates).to(task.model.device).requires_grad_()
    is_free = torch.tensor(task.gates != 0).to(task.model.device)
    gates.register_hook(lambda gradient: gradient * is_free)
    peak = LEARNING_RATE * float(np.sqrt(np.square(task.gates[task.gates != 0]).mean()))
    optimizer = torch.optim.Adam([gates], peak)
    batches, idle, done, longest = _batches(task.trained), 0, 0, 0.0
    stopped: Stopped = "steps"
    for step in range(steps):
        began = time.monotonic()
        if began + longest > deadline:
            stopped = "budget"
            break
        optimizer.param_groups[0]["lr"] = peak * _factor(step, steps)
        batch = AnswerBatch.of(next(batches)).to(task.model.device)
        with torch.enable_grad(), task.unmerged.applied(mixture(gates)):
            loss = answer_loss(answer_logits(task.model, batch), batch)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        done += 1
        if done % SCORED_EVERY == 0 or done == steps:
            tuned = gates.detach().cpu().numpy().astype(np.float32)
            score = task.score(tuned)
            idle += 1
            if score.is_better_than(best):
                best, best_gates, idle = score, tuned, 0
        longest = max(longest, time.monotonic() - began)
        on_progress(done, steps)
        if idle >= PATIENCE:
            stopped = "no_gain"
            break
    counts, seconds = (len(task.trained) + len(task.held_out), len(task.held_out)), time.monotonic() - started
    kept = best_gates is not task.gates
    return best_gates, RefinementOutcome("gates", kept, *counts, before, best, done, seconds, stopped)


def _batches(examples: Sequence[Encoded]) -> Iterator[list[Encoded]]:
    """Batches of the examples, in an order drawn anew each time that all were met, the same in every call."""
    rng = random.Random(0)
    while True:
        waiting = rng.sample(list(examples), len(examples))
        while waiting:
            yield _take(waiting)


def _take(waiting: list[Encoded]) -> list[Encoded]:
    """The next batch: at least one example, and no more rows and tokens than a step may have."""
    batch: list[Encoded] = []
    longest = 0
    while waiting and len(batch) < ROWS:
        longest = max(longest, sum(map(len, waiting[-1])))
        if batch and longest * (len(batch) + 1) > MOST_TOKENS:
            break
        batch.append(waiting.pop())
    return batch


def _factor(step: int, steps: int) -> float:
    """Linear warm-up, then cosine."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    progress = (step - WARMUP) / max(1, steps - WARMUP)
    return LAST_SHARE + (1 - LAST_SHARE) * 0.5 * (1 + math.cos(math.pi * progress))
