"""Pieces of a description as slots of numbers: what each means, and how the edge model spells it.

A frozen sentence encoder gives every piece its meaning (one vector) and its words their meaning in context. What the
edge model may have to write is spelled in tokens of the *edge* model, one slot for each token. Equal pieces are encoded
once and kept.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.generator.chat_format import answer_ids
from training.memory.pieces import KINDS, WHOLE, Piece

MOST_ENCODER_TOKENS = 128
MOST_SLOTS_OF_PIECE = 64
MOST_PLACE = 7
KEPT_PIECES = 60_000
ENCODED_AT_ONCE = 48


@dataclass(frozen=True, slots=True)
class PieceSlots:
    """What one piece gives: meaning (width,), contexts (slots, width), ids (slots,), places (slots,)."""

    kind: int
    meaning: Tensor
    contexts: Tensor
    ids: Tensor
    places: Tensor


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots of a batch of descriptions, padded on the right.

    Attributes:
        meanings: (tasks, slots, width) float32, of the piece of each slot.
        contexts: (tasks, slots, width) float32, of the slot's own words.
        ids: (tasks, slots) int64, edge tokens.
        kinds: (tasks, slots) int64, kind of the piece.
        places: (tasks, slots) int64, place within the value.
        mask: (tasks, slots) bool, False for padding.
    """

    meanings: Tensor
    contexts: Tensor
    ids: Tensor
    kinds: Tensor
    places: Tensor
    mask: Tensor


class PieceEncoder:
    """A frozen sentence encoder, with the edge model's tokenizer beside it.

    Args:
        model: A BERT-like encoder with mean pooling.
        tokenizer: The encoder's.
        edge_tokenizer: Spells the values.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, edge_tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self._model, self._tokenizer, self._edge = model.eval(), tokenizer, edge_tokenizer
        self._kept: OrderedDict[Piece, PieceSlots] = OrderedDict()
        self.width: int = model.config.hidden_size

    def read(self, descriptions: Sequence[Sequence[Piece]]) -> Slots:
        """Slots of every description."""
        missing = list(dict.fromkeys(p for pieces in descriptions for p in pieces if p not in self._kept))
        missing.sort(key=lambda piece: len(piece.text))
        for start in range(0, len(missing), ENCODED_AT_ONCE):
            self._encode(missing[start : start + ENCODED_AT_ONCE])
        rows = [[self._kept[piece] for piece in pieces] for pieces in descriptions]
        shape = (len(rows), max(sum(len(p.ids) for p in pieces) for pieces in rows))
        meanings, contexts = torch.zeros(*shape, self.width), torch.zeros(*shape, self.width)
        ids, kinds, places = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
        mask = torch.zeros(shape, dtype=torch.bool)
        for row, pieces in enumerate(rows):
            at = 0
            for piece in pieces:
                to = at + len(piece.ids)
                meanings[row, at:to], contexts[row, at:to] = piece.meaning, piece.contexts
                ids[row, at:to], places[row, at:to], kinds[row, at:to] = piece.ids, piece.places, piece.kind
                at = to
            mask[row, :at] = True
        while len(self._kept) > KEPT_PIECES:
            self._kept.popitem(last=False)
        return Slots(meanings, contexts, ids, kinds, places, mask)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Meanings of whole texts, (texts, width), of unit length."""
        found = []
        for start in range(0, len(texts), ENCODED_AT_ONCE):
            states, mask, _ = self._states(texts[start : start + ENCODED_AT_ONCE])
            found.append(_mean(states, mask))
        return torch.cat(found)

    def _states(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, list[list[tuple[int, int]]]]:
        encoded = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=MOST_ENCODER_TOKENS,
            return_offsets_mapping=True,
            return_tensors="pt",
        )
        spans = encoded["offset_mapping"].tolist()
        mask = encoded["attention_mask"]
        states = self._model(input_ids=encoded["input_ids"], attention_mask=mask).last_hidden_state
        return states, mask.bool(), spans

    @torch.no_grad()
    def _encode(self, pieces: Sequence[Piece]) -> None:
        states, mask, spans = self._states([piece.text for piece in pieces])
        for row, piece in enumerate(pieces):
            # Special tokens have empty spans; a text that gives no token is read at the first place.
            tokens = [n for n, (a, b) in enumerate(spans[row]) if b > a and mask[row, n]]
            whole = mask[row]
            if piece.meaning != WHOLE:
                whole = torch.zeros_like(whole)
                whole[_within(tokens, spans[row], piece.meaning)] = True
            meaning = _mean(states[row : row + 1], whole[None])[0]
            if piece.value_span == WHOLE:
                ids, starts, places = self._spell_words(piece.value)
                contexts = states[row, [_first_behind(tokens, spans[row], start) for start in starts]]
            else:
                ids = self._spell(piece.value)[:MOST_SLOTS_OF_PIECE]
                places = [min(n, MOST_PLACE) for n in range(len(ids))]
                contexts = states[row, _within(tokens, spans[row], piece.value_span)].mean(0).expand(len(ids), -1)
            kind = KINDS.index(piece.kind)
            self._kept[piece] = PieceSlots(
                kind, meaning, contexts.clone(), torch.tensor(ids, dtype=torch.long), torch.tensor(places)
            )

    def _spell(self, text: str) -> list[int]:
        return answer_ids(self._edge, text)[:-1]

    def _spell_words(self, text: str) -> tuple[list[int], list[int], list[int]]:
        """Edge tokens of every word as an answer would begin with it, where they stand, and their place in the word."""
        ids: list[int] = []
        starts: list[int] = []
        places: list[int] = []
        for word in re.finditer(r"[^\s\"'`,.;:!?()]+|[^\s]", text):
            spelled = self._spell(word.group())
            ids += spelled
            starts += [word.start()] * len(spelled)
            places += [min(n, MOST_PLACE) for n in range(len(spelled))]
        return ids[:MOST_SLOTS_OF_PIECE], starts[:MOST_SLOTS_OF_PIECE], places[:MOST_SLOTS_OF_PIECE]


def _within(tokens: Sequence[int], spans: Sequence[tuple[int, int]], span: tuple[int, int]) -> list[int]:
    """Tokens that overlap a span of characters; the first token where none does."""
    return [n for n in tokens if spans[n][0] < span[1] and spans[n][1] > span[0]] or [0]


def _first_behind(tokens: Sequence[int], spans: Sequence[tuple[int, int]], start: int) -> int:
    """The first token that ends behind a character, else the last one before it; the first place without tokens."""
    return min(tokens, key=lambda n: (spans[n][1] <= start, abs(spans[n][1] - start)), default=0)


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask[..., None].to(states.dtype)
    return torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1).clamp(min=1), dim=-1)
