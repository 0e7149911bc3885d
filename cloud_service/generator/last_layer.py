"""The last feed-forward layer of the frozen edge model: what it reads at the end of an input, and what it may write.

The choice head lies there. It changes nothing that it reads, so what it makes of an input can be computed from one
reading of the model, for any keys.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.generator.answer_batch import state_logits
from cloud_service.generator.chat_format import question_ids
from cloud_service.generator.choice_head import ChoiceHead
from cloud_service.generator.edge import edge_projections
from cloud_service.generator.prompt_encoder import pad_right

READ_AT_ONCE = 48


@dataclass(frozen=True, slots=True)
class LastStates:
    """The end of each input in the last layer; the state behind the layer is `rest` and what `down` writes.

    Attributes:
        read: (inputs, inner), what `down` gets.
        written: (inputs, hidden), what it writes.
        rest: (inputs, hidden).
    """

    read: Tensor
    written: Tensor
    rest: Tensor


class LastLayer:
    """The last feed-forward layer of an edge model.

    Args:
        model: The edge model.
        tokenizer: Its tokenizer.
        longest: Tokens of an input; of a longer one the beginning is lost.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, longest: int) -> None:
        self._model, self._tokenizer, self._longest = model.requires_grad_(False).eval(), tokenizer, longest
        self._down = next(linear for (_, p), linear in reversed(edge_projections(model).items()) if p == "down")
        self._layer = model.get_decoder().layers[-1]

    @torch.no_grad()
    def read(self, texts: Sequence[str]) -> Tensor:
        """What `down` reads at the last token of each input, (inputs, inner) float16."""
        found = torch.zeros(len(texts), self._down.in_features, dtype=torch.float16)
        for group, ids, ends in self._batches(texts):
            with self.observed() as seen:
                self._model.get_decoder()(input_ids=ids, use_cache=False)
            found[group] = seen[0][torch.arange(len(group)), ends].half().cpu()
        return found

    @torch.no_grad()
    def states(self, texts: Sequence[str], system: str | None = None) -> LastStates:
        """The end of each input, float32 on the model's device; a LoRA that is applied meanwhile counts.

        Args:
            texts: The inputs.
            system: A system prompt in front of each.
        """
        found: list[tuple[list[int], list[Tensor]]] = []
        for group, ids, ends in self._batches(texts, system):
            seen: list[Tensor] = []
            hooks = [
                self._down.register_forward_hook(lambda _, x, y, seen=seen: seen.extend((x[0], y))),
                self._layer.register_forward_hook(
                    lambda _, __, y, seen=seen: seen.append(y if isinstance(y, Tensor) else y[0])
                ),
            ]
            try:
                self._model.get_decoder()(input_ids=ids, use_cache=False)
            finally:
                for hook in hooks:
                    hook.remove()
            read, written, behind = (each[torch.arange(len(group)), ends].float() for each in seen)
            found.append((group, [read, written, behind - self._added(written)]))
        order = torch.tensor([number for group, _ in found for number in group]).argsort()
        parts = (torch.cat([each[part] for _, each in found])[order.to(ids.device)] for part in range(3))
        return LastStates(*parts)

    @torch.no_grad()
    def code_logits(self, states: LastStates, added: Tensor, codes: Sequence[int]) -> Tensor:
        """Logits of the codes, (inputs, codes) float32, when `down` writes (inputs, hidden) besides."""
        behind = states.rest + self._added(states.written + added)
        normed = self._model.get_decoder().norm(behind.to(self._model.dtype))
        return state_logits(self._model, normed)[:, list(codes)]

    @contextmanager
    def under(self, head: ChoiceHead, keys: Tensor) -> Iterator[None]:
        """Within, the layer writes what a choice head adds to it, too.

        Args:
            head: In this layer alone.
            keys: (rows, choices, rank), of the choices of each row; zeros for a choice that it does not have.
        """
        a, b = head.a[0].detach(), head.b[0, :, : keys.shape[1]].detach()  # (rank, inner), (hidden, choices)

        def add(_: nn.Module, given: tuple[Tensor, ...], written: Tensor) -> Tensor:
            scores = (given[0] @ a.T) @ keys.mT  # (rows, places, choices)
            return written + scores @ b.T

        hook = self._down.register_forward_hook(add)
        try:
            yield
        finally:
            hook.remove()

    @contextmanager
    def observed(self) -> Iterator[list[Tensor]]:
        """Within the block, what `down` reads in each forward pass, (rows, length, inner), is put on the list."""
        seen: list[Tensor] = []
        hook = self._down.register_forward_hook(lambda _, x, __: seen.append(x[0]))
        try:
            yield seen
        finally:
            hook.remove()

    @torch.no_grad()
    def code_rows(self, codes: Sequence[int]) -> Tensor:
        """(codes, hidden) float32: the logit of a code for each unit of state, before the norm divides by its size."""
        return self._vocabulary()[list(codes)]

    @torch.no_grad()
    def code_directions(self, codes: Sequence[int]) -> Tensor:
        """(hidden, codes): adding column i to the state raises the logit of code i, before the norm divides.

        Of the other codes it raises none, and of all other tokens as little as there is, in squares: ` B` is near `B`.
        """
        vocabulary = self._vocabulary()
        spread = vocabulary.T @ vocabulary / len(vocabulary)
        spread.diagonal().add_(1e-3 * spread.diagonal().mean())
        rows = vocabulary[list(codes)]
        apart = torch.linalg.solve(spread, rows.T)  # (hidden, codes)
        return apart @ torch.linalg.inv(rows @ apart)

    def _vocabulary(self) -> Tensor:
        weight = self._model.get_output_embeddings().weight
        ones = torch.ones(weight.shape[1], dtype=weight.dtype, device=weight.device)
        return weight.float() * self._model.get_decoder().norm(ones).float()

    def _added(self, written: Tensor) -> Tensor:
        """What is added to the state when `down` writes this: Gemma has a norm in between."""
        norm: nn.Module | None = getattr(self._layer, "post_feedforward_layernorm", None)
        return written if norm is None else norm(written.to(self._model.dtype)).float()

    def _batches(self, texts: Sequence[str], system: str | None = None) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Numbers of texts of like length, their ids, and the places of their last tokens."""
        encoded = [question_ids(self._tokenizer, text, system)[-self._longest :] for text in texts]
        order = sorted(range(len(texts)), key=lambda n: len(encoded[n]))
        for start in range(0, len(order), READ_AT_ONCE):
            group = order[start : start + READ_AT_ONCE]
            ids, lengths = pad_right([encoded[n] for n in group])
            device = self._model.device
            yield group, ids.to(device), (lengths - 1).to(device)
