"""The one training loop: schedule, gradient clipping, checkpoints, progress. What a step computes is its caller's.

Each step's randomness is a function of the seed and the step's number, so a resumed run gives the losses of an
uninterrupted one. Under several processes each computes its share of a step (`training.fit.processes`), and the first
one writes checkpoints and shows progress.
"""

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from training.fit.checkpoints import load_checkpoint, start_digest, store_checkpoint
from training.fit.processes import Processes


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear warm-up, then cosine to `floor` of the peak.

    Not one of `torch.optim.lr_scheduler`: a rate that follows from the step's number alone needs no state to resume.
    """

    steps: int
    warmup: int
    floor: float = 0.05

    def factor(self, step: int) -> float:
        """What the peak learning rate is multiplied by at a step, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, slots=True)
class Run:
    """Where a run keeps its state and how it is seeded.

    Attributes:
        origin: Digests of the frozen models that it depends on; a checkpoint of a run on others is refused.
    """

    directory: Path
    title: str
    seed: int
    schedule: Schedule
    checkpoint_seconds: float = 120.0
    clip_norm: float = 1.0
    origin: str = ""


def run_training(
    run: Run,
    parameters: Mapping[str, Tensor],
    optimizers: Sequence[torch.optim.Optimizer],
    compute_loss: Callable[[int], tuple[Tensor, int]],
    stop_after: int | None = None,
    processes: Processes | None = None,
) -> list[float]:
    """Runs or resumes a training run to its last step.

    Args:
        run: Seed, schedule and folder.
        parameters: Every trained tensor by name; stored in checkpoints.
        optimizers: Over the same tensors; their initial learning rates are the peaks.
        compute_loss: From the step's number to the loss and the tokens it took; of several processes, each gives its
            share of the step's loss.
        stop_after: Leave after this many steps, as if killed after a checkpoint (tests).
        processes: Those that share the steps; by default those that this process was started with.

    Returns:
        The loss of each step that this call ran.

    Raises:
        ValueError: The checkpoint is of a run that started from other weights.
    """
    processes = processes or Processes()
    start = start_digest(parameters, run.origin)
    with processes.main_first():
        first = load_checkpoint(run.directory, parameters, optimizers, start)
    peaks = [(group, group["lr"]) for optimizer in optimizers for group in optimizer.param_groups]
    losses: list[float] = []
    saved, tokens, started = time.monotonic(), 0, time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    run.directory.parent.mkdir(parents=True, exist_ok=True)
    beside = run.directory.with_name(f"{run.directory.name}.jsonl")  # not with_suffix: a name may have a dot
    log_path = beside if processes.is_main else Path(os.devnull)
    with Progress(*columns, disable=not processes.is_main) as progress, log_path.open("a") as log:
        bar = progress.add_task(run.title, total=run.schedule.steps, completed=first)
        for step in range(first, run.schedule.steps):
            torch.manual_seed((run.seed * 1_000_003 + step) * processes.count + processes.rank)
            for group, peak in peaks:
                group["lr"] = peak * run.schedule.factor(step)
            loss, count = compute_loss(step)
            loss.backward()
            processes.sum_gradients(parameters.values())
            torch.nn.utils.clip_grad_norm_(parameters.values(), run.clip_norm)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            whole = processes.sum(torch.tensor([loss.item(), count], dtype=torch.float64, device=processes.device))
            losses.append(whole[0].item())
            tokens += int(whole[1].item())
            rate_now = tokens / (time.monotonic() - started)
            log.write(json.dumps({"step": step, "loss": losses[-1], "tokens_per_second": round(rate_now)}) + "\n")
            recent = sum(losses[-20:]) / len(losses[-20:])
            progress.update(bar, advance=1, description=f"{run.title}  loss {recent:.3f}  {rate_now:,.0f} tokens/s")
            stopping = stop_after is not None and len(losses) >= stop_after
            due = stopping or step + 1 == run.schedule.steps or time.monotonic() - saved > run.checkpoint_seconds
            if due and processes.is_main:
                store_checkpoint(run.directory, step + 1, parameters, optimizers, start)
                log.flush()
                saved = time.monotonic()
            if stopping:
                break
    processes.wait()
    for group, peak in peaks:
        group["lr"] = peak
    return losses
