"""Scores on validation tasks, with controls that do not read the description.

Closed sets are scored guided in every column, as the device answers; open answers greedily, by teacher forcing, which
gives the same exact matches. Columns: `base` (input only), `average` (mean gates over training descriptions),
`mismatched` (the description of another task; of the same group where there are groups), `gibberish`, `right`.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from training.data.gibberish import gibberish
from training.evaluation.suites.load import load_suites
from training.evaluation.suites.tasks import SuiteSizes, SuiteTask
from training.memory.answers import Row, make_batches, make_row, score
from training.memory.edge import SplitEdge
from training.memory.generator import Gates, Generator
from training.memory.pieces import Piece, split_description
from training.memory.slots import PieceEncoder

SUITES = ("tools-unseen", "tools-renamed")
COLUMNS = ("base", "average", "mismatched", "gibberish", "right")
SIZES = SuiteSizes(tasks=24, samples=1, inputs=4)
LONGEST_ROW = 110
BATCH_TOKENS = 1500
GIBBERISH = 6


@dataclass(frozen=True, slots=True)
class Cell:
    """Percent right and mean loss of a suite under a column, over so many inputs."""

    right: float
    loss: float
    inputs: int


@dataclass(frozen=True, slots=True)
class _Asked:
    suite: str
    group: str
    pieces: tuple[Piece, ...]
    rows: list[Row]


class Validation:
    """Tasks drawn once, with the states of the layers that nothing adapts kept.

    Args:
        edge: The edge model.
        tokenizer: Its tokenizer.
        encoder: Reads descriptions.
        tasks: By suite.
    """

    def __init__(
        self,
        edge: SplitEdge,
        tokenizer: PreTrainedTokenizerBase,
        encoder: PieceEncoder,
        tasks: Sequence[tuple[str, SuiteTask]],
    ) -> None:
        self._edge, self._encoder = edge, encoder
        self._tasks: list[_Asked] = []
        for suite, task in tasks:
            labels = task.choices[0] if task.choices else ()
            made = [make_row(tokenizer, i.input, i.output, labels, plain=not labels) for i in task.instances]
            rows = [row for row in made if len(row.ids) <= LONGEST_ROW]
            if rows:
                self._tasks.append(_Asked(suite, task.group, split_description(task.samples[0]), rows))
        rows = [row for task in self._tasks for row in task.rows]
        owners = [n for n, task in enumerate(self._tasks) for _ in task.rows]
        self._batches = [(b, edge.lower(b.ids).half()) for b in make_batches(rows, owners, BATCH_TOKENS)]

    @torch.no_grad()
    def table(
        self, generator: Generator, trained: Sequence[tuple[Piece, ...]], columns: Sequence[str] = COLUMNS
    ) -> dict[str, dict[str, Cell]]:
        """Cells by suite and column; `trained` are descriptions of training, over which gates are averaged."""
        own = self._gates(generator, [task.pieces for task in self._tasks])
        found: dict[str, dict[str, Cell]] = defaultdict(dict)
        for column in columns:
            gates: Gates | None = own
            if column == "base":
                gates = None
            elif column == "mismatched":
                gates = _chosen(own, self._others())
            elif column == "average":
                mean = self._gates(generator, trained)
                gates = mean[0].mean(0, keepdim=True).expand_as(own[0]), mean[1].mean(0, keepdim=True).expand_as(own[1])
            elif column == "gibberish":
                rng = random.Random("gibberish")
                drawn = self._gates(generator, [split_description(gibberish(rng, 150)) for _ in range(GIBBERISH)])
                gates = _chosen(drawn, torch.arange(len(self._tasks)) % GIBBERISH)
            for suite, cell in self._score(generator, gates).items():
                found[suite][column] = cell
        return dict(found)

    def _gates(self, generator: Generator, descriptions: Sequence[tuple[Piece, ...]]) -> Gates:
        # One at a time: descriptions are few, and of very different length.
        drawn = [generator(self._encoder.read([pieces])) for pieces in descriptions]
        return torch.cat([memory for memory, _ in drawn]), torch.cat([skills for _, skills in drawn])

    def _score(self, generator: Generator, gates: Gates | None) -> dict[str, Cell]:
        losses, hits = defaultdict(list), defaultdict(list)
        for batch, lower in self._batches:
            cores = None if gates is None else generator.bank(gates, batch.owner)
            scored = score(self._edge.upper(lower.float(), cores), batch, self._edge.embedding)
            for owner, loss, hit in zip(batch.owner.tolist(), scored.loss.tolist(), scored.hit.tolist(), strict=True):
                losses[self._tasks[owner].suite].append(loss)
                hits[self._tasks[owner].suite].append(hit)
        return {
            suite: Cell(100 * sum(hits[suite]) / len(of), sum(of) / len(of), len(of)) for suite, of in losses.items()
        }

    def _others(self) -> Tensor:
        """For each task the next of its group, or else of its suite."""
        others = []
        for n, task in enumerate(self._tasks):
            later = [*range(n + 1, len(self._tasks)), *range(n)]
            same = [m for m in later if self._tasks[m].suite == task.suite]
            grouped = [m for m in same if task.group and self._tasks[m].group == task.group]
            others.append((grouped or same or [n])[0])
        return torch.tensor(others)


def load_validation_tasks(data: Path, suites: Sequence[str] = SUITES) -> list[tuple[str, SuiteTask]]:
    """Tasks of the suites' validation split."""
    return [(s.name, task) for s in load_suites(data, "validation", SIZES, suites) for task in s.tasks]


def _chosen(gates: Gates, tasks: Tensor) -> Gates:
    return gates[0][tasks], gates[1][tasks]
