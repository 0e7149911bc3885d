"""Rows for the edge model, and the two losses: over a closed set as the device decodes it, or over the vocabulary.

A device that knows the set walks a trie of its members: wherever they part, it takes the likeliest of the tokens that
are possible there. So a closed answer is scored at these places alone, each a softmax over the possible tokens, and a
row ends with the last of them: where first tokens differ, nothing of the answer is read at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from cloud_service.generator.chat_format import answer_ids, question_ids


@dataclass(frozen=True, slots=True)
class Choice:
    """A place where the members of a set part.

    Attributes:
        depth: Answer tokens before it.
        tokens: What may follow, the right one first.
    """

    depth: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One input with its answer, in edge tokens.

    Attributes:
        ids: Prefix and as much of the answer as is read.
        prefix: Tokens of the prefix.
        answer: All tokens of the answer, its end included.
        choices: Where a closed set is decided; empty for an open answer.
        plain: Whether the answer is scored over the vocabulary.
    """

    ids: tuple[int, ...]
    prefix: int
    answer: tuple[int, ...]
    choices: tuple[Choice, ...]
    plain: bool


def make_row(
    tokenizer: PreTrainedTokenizerBase, text: str, answer: str, labels: Sequence[str] = (), plain: bool = True
) -> Row:
    """A row; with labels the answer is one of them, and without `plain` its choices alone are scored."""
    prefix, wanted = question_ids(tokenizer, text), tuple(answer_ids(tokenizer, answer))
    members = [tuple(answer_ids(tokenizer, label)) for label in labels]
    choices = find_choices(wanted, members) if members else ()
    plain = plain or not members
    read = len(wanted) - 1 if plain else (choices[-1].depth if choices else 0)
    return Row((*prefix, *wanted[:read]), len(prefix), wanted, choices, plain)


def find_choices(wanted: tuple[int, ...], members: Sequence[tuple[int, ...]]) -> tuple[Choice, ...]:
    """Where the way to a member parts from others'."""
    found = []
    alive = list(dict.fromkeys(members))
    for depth, token in enumerate(wanted):
        possible = dict.fromkeys([token, *(m[depth] for m in alive)])
        if len(possible) > 1:
            found.append(Choice(depth, tuple(possible)))
        alive = [m for m in alive if m[depth] == token]
    return tuple(found)


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Rows of like length, padded on the right.

    Attributes:
        ids: (rows, longest) int64.
        owner: (rows,) int64, task of each row.
        plain: (3, answer tokens) int64: row, place and target of each token that is scored over the vocabulary.
        chosen: (4, candidates) int64: row, place, number of the choice and token of the candidates of all choices, the
            right one of each choice first.
        firsts: (choices,) int64, where the candidates of each choice begin.
    """

    ids: Tensor
    owner: Tensor
    plain: Tensor
    chosen: Tensor
    firsts: Tensor


def make_batches(rows: Sequence[Row], owners: Sequence[int], size: int) -> list[RowBatch]:
    """Batches of at most `size` tokens (padding counted), by length."""
    order = sorted(range(len(rows)), key=lambda n: len(rows[n].ids))
    groups: list[list[int]] = []
    for n in order:
        if groups and (len(groups[-1]) + 1) * len(rows[n].ids) <= size:
            groups[-1].append(n)
        else:
            groups.append([n])
    return [_batch([rows[n] for n in group], [owners[n] for n in group]) for group in groups]


def _batch(rows: Sequence[Row], owners: Sequence[int]) -> RowBatch:
    ids = torch.zeros(len(rows), max(len(r.ids) for r in rows), dtype=torch.long)
    plain: list[tuple[int, int, int]] = []
    chosen: list[tuple[int, int, int, int]] = []
    firsts: list[int] = []
    for n, row in enumerate(rows):
        ids[n, : len(row.ids)] = torch.tensor(row.ids)
        if row.plain:
            plain += [(n, row.prefix - 1 + depth, token) for depth, token in enumerate(row.answer)]
        for choice in row.choices:
            number = len(firsts)
            firsts.append(len(chosen))
            chosen += [(n, row.prefix - 1 + choice.depth, number, token) for token in choice.tokens]
    return RowBatch(
        ids,
        torch.tensor(owners),
        torch.tensor(plain, dtype=torch.long).reshape(-1, 3).T,
        torch.tensor(chosen, dtype=torch.long).reshape(-1, 4).T,
        torch.tensor(firsts, dtype=torch.long),
    )


@dataclass(frozen=True, slots=True)
class Scored:
    """Losses and hits of the rows of a batch; rows without such a score have NaN losses.

    Attributes:
        plain: (rows,) mean cross entropy of the answer's tokens.
        exact: (rows,) bool, greedy decoding gives the answer.
        closed: (rows,) sum over choices of the cross entropy among possible tokens.
        picked: (rows,) bool, guided decoding gives the answer.
    """

    plain: Tensor
    exact: Tensor
    closed: Tensor
    picked: Tensor

    @property
    def loss(self) -> Tensor:
        """(rows,) `closed` where the answer's set is closed, else `plain`."""
        return torch.where(self.closed.isnan(), self.plain, self.closed)

    @property
    def hit(self) -> Tensor:
        """(rows,) bool, whether the answer is right as the device decodes it."""
        return torch.where(self.closed.isnan(), self.exact, self.picked)


def score(states: Tensor, batch: RowBatch, embedding: Tensor) -> Scored:
    """Scores states (rows, longest, hidden) after the final norm."""
    rows = len(batch.ids)
    nan = states.new_full((rows,), float("nan"))
    plain, exact, closed, picked = nan, torch.ones(rows, dtype=torch.bool), nan, torch.ones(rows, dtype=torch.bool)
    at, places, targets = batch.plain
    if len(at):
        logits = states[at, places] @ embedding.T
        losses = nn.functional.cross_entropy(logits, targets, reduction="none")
        counts = torch.bincount(at, minlength=rows)
        sums = losses.new_zeros(rows).index_add(0, at, losses / counts[at])
        plain = torch.where(counts > 0, sums, nan)
        exact = torch.zeros(rows).index_add(0, at, (logits.detach().argmax(-1) != targets).float()) == 0
    at, places, number, tokens = batch.chosen
    if len(at):
        logits = (states[at, places] * embedding[tokens]).sum(-1)
        count = len(batch.firsts)
        top = logits.detach().new_full((count,), -1e30).scatter_reduce(0, number, logits.detach(), "amax")
        total = logits.new_zeros(count).index_add(0, number, (logits - top[number]).exp()).log() + top
        owner = at[batch.firsts]
        losses = total - logits[batch.firsts]
        met = torch.bincount(owner, minlength=rows)
        closed = torch.where(met > 0, losses.new_zeros(rows).index_add(0, owner, losses), nan)
        wrong = (logits.detach()[batch.firsts] < top).float()
        picked = torch.zeros(rows).index_add(0, owner, wrong) == 0
    return Scored(plain, exact, closed, picked)
