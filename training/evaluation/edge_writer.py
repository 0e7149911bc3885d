"""The edge model answering: greedy text, and the likeliest of given choices, under un-merged LoRA factors or none.

Each question is read once, and the beginning that all of them share (a system prompt) only once in all. Both ways of
answering continue from the same cache. Rows are grouped by task as `UnmergedLora` has them: with T tasks and R rows,
rows 0 .. R/T - 1 belong to the first.
"""

import copy
import itertools
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.generator.chat_format import end_of_answer
from cloud_service.generator.edge import Factors, UnmergedLora
from training.fit.chat_format import ChatFormat


@dataclass(frozen=True, slots=True)
class WrittenAnswers:
    """Answers of all rows.

    Attributes:
        texts: Greedy answers, white space around them removed; empty strings when none were asked for.
        chosen: For each row, the choice that is likeliest with its end; -1 without choices.
        tokens: Input tokens of each row.
    """

    texts: tuple[str, ...]
    chosen: tuple[int, ...]
    tokens: tuple[int, ...]


@dataclass(slots=True)
class _Read:
    cache: Any
    logits: Tensor  # (rows, vocabulary): of the first answer token
    mask: Tensor  # (rows, longest) int64
    lengths: Tensor  # (rows,) int64


class EdgeWriter:
    """The frozen edge model with its tokenizer, writing answers."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, longest: int) -> None:
        self.model = model.requires_grad_(False).eval()
        self.chat = ChatFormat(tokenizer, longest)
        self._lora = UnmergedLora(model)
        self._tokenizer, self._longest = tokenizer, longest

    def answer(
        self,
        inputs: Sequence[str],
        systems: Sequence[str | None],
        factors: Factors | None,
        longest_answer: int,
        choices: Sequence[Sequence[str]] = (),
    ) -> WrittenAnswers:
        """Answers every row.

        Args:
            inputs: What the users say.
            systems: A system prompt or none for each; a question that is too long loses its beginning.
            factors: The LoRA of each task, or none.
            longest_answer: Tokens of a greedy answer at most; 0 for none.
            choices: For each row, the answers to choose from; with factors, each task has equally many in all.
        """
        room = self._longest - max(longest_answer, self._longest_choice(choices))
        questions = [self.chat.question(text, s)[-room:] for text, s in zip(inputs, systems, strict=True)]
        with torch.inference_mode(), self._lora.applied(factors) if factors is not None else nullcontext():
            read = self._read(questions, _shared_beginning(questions) if factors is None else 0)
            scores = self._score(read, choices) if choices else []
            texts = self._generate(read, longest_answer) if longest_answer else [""] * len(questions)
        chosen = tuple(_best(row) for row in scores) or (-1,) * len(questions)
        return WrittenAnswers(tuple(texts), chosen, tuple(map(len, questions)))

    def _longest_choice(self, choices: Sequence[Sequence[str]]) -> int:
        distinct = {choice for offered in choices for choice in offered}
        return max((len(self.chat.answer(choice)) for choice in distinct), default=0)

    def _read(self, questions: Sequence[list[int]], shared: int) -> _Read:
        """Reads questions: shared tokens, padding, then the rest of each, so that all answers begin in one column."""
        rows, longest, device = len(questions), max(map(len, questions)) - shared, self.model.device
        ids = torch.zeros(rows, longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, question in enumerate(questions):
            ids[row, longest - len(question) + shared :] = torch.tensor(question[shared:])
            mask[row, longest - len(question) + shared :] = 1
        ids, mask = ids.to(device), mask.to(device)
        places = shared + (mask.cumsum(1) - 1).clamp(min=0)
        cache: Any = None
        if shared:
            beginning = torch.tensor([questions[0][:shared]], device=device)
            cache = self.model(input_ids=beginning, use_cache=True, logits_to_keep=1).past_key_values
            cache.batch_repeat_interleave(rows)
            mask = torch.cat([mask.new_ones(rows, shared), mask], 1)
        out = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=places,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return _Read(out.past_key_values, out.logits[:, -1].float(), mask, mask.sum(1))

    def _generate(self, read: _Read, longest_answer: int) -> list[str]:
        token, mask = read.logits.argmax(-1), read.mask
        ends = {end_of_answer(self._tokenizer), self._tokenizer.eos_token_id}
        stops = torch.tensor(sorted(ends), device=token.device)
        written = [token]
        done = torch.isin(token, stops)
        for step in range(longest_answer - 1):
            if bool(done.all()):
                break
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
            out = self.model(
                input_ids=token[:, None],
                attention_mask=mask,
                position_ids=(read.lengths + step)[:, None],
                past_key_values=read.cache,
                use_cache=True,
            )
            token = out.logits[:, -1].argmax(-1)
            written.append(token)
            done |= torch.isin(token, stops)
        texts = []
        for row in torch.stack(written, 1).tolist():
            ids = list(itertools.takewhile(lambda token: token not in ends, row))
            texts.append(self._tokenizer.decode(ids, skip_special_tokens=True).strip())
        return texts

    def _score(self, read: _Read, choices: Sequence[Sequence[str]]) -> list[list[float]]:
        """Log-likelihood of each row's choices, each with its end token."""
        encoded = [[self.chat.answer(choice) for choice in offered] for offered in choices]
        order = torch.tensor([row for row, offered in enumerate(encoded) for _ in offered], device=read.mask.device)
        flat = [ids for offered in encoded for ids in offered]
        longest = max(map(len, flat))
        ids = torch.zeros(len(flat), longest, dtype=torch.long)
        real = torch.zeros(len(flat), longest)
        for row, answer in enumerate(flat):
            ids[row, : len(answer)] = torch.tensor(answer)
            real[row, : len(answer)] = 1
        ids, real = ids.to(order.device), real.to(order.device)
        logits = read.logits[order, None]
        if longest > 1:
            cache = copy.deepcopy(read.cache)
            cache.reorder_cache(order)
            out = self.model(
                input_ids=ids[:, :-1],
                attention_mask=torch.cat([read.mask[order], torch.ones_like(ids[:, :-1])], 1),
                position_ids=read.lengths[order, None] + torch.arange(longest - 1, device=order.device),
                past_key_values=cache,
                use_cache=True,
            )
            logits = torch.cat([logits, out.logits.float()], 1)
        likelihood = logits.log_softmax(-1).gather(2, ids[..., None])[..., 0]
        sums = iter((likelihood * real).sum(1).tolist())
        return [[next(sums) for _ in offered] for offered in encoded]


def _shared_beginning(questions: Sequence[list[int]]) -> int:
    """Tokens with which all questions begin; one at least is left to each."""
    if len(questions) < 2:
        return 0
    first, last = min(questions), max(questions)
    return next(
        (i for i, (a, b) in enumerate(zip(first[:-1], last[:-1], strict=False)) if a != b),
        min(len(first), len(last)) - 1,
    )


def _best(scores: Sequence[float]) -> int:
    return max(range(len(scores)), key=scores.__getitem__)
