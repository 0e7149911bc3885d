"""What texts mean to a sentence encoder, and the choices of closed sets by that.

The encoder is the cloud model without its adapter: the mean of the last states over a text's tokens, of unit length.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.answer.choices import Choice
from cloud_service.generator.choice_head import ChoiceMeanings
from cloud_service.generator.prompt_encoder import CloudAdapter

MOST_TOKENS = 128
ENCODED_AT_ONCE = 32


class SentenceEncoder:
    """Turns texts into vectors; equal texts of one call are encoded once.

    Args:
        model: A Hugging Face encoder, or a causal LM without its head.
        tokenizer: Its tokenizer.
        adapter: A generator's adapter in this model, which is off while meanings are read.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, adapter: CloudAdapter | None = None
    ) -> None:
        self._model, self._tokenizer, self._adapter = model, tokenizer, adapter
        self.width: int = model.get_input_embeddings().weight.shape[1]

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Vectors of unit length, (texts, width) float32."""
        encoded = self._tokenizer(list(texts), truncation=True, max_length=MOST_TOKENS)["input_ids"]
        found = torch.zeros(len(texts), self.width)
        order = sorted(range(len(texts)), key=lambda n: len(encoded[n]))
        device = self._model.device
        with self._adapter.switched_off() if self._adapter else nullcontext():
            for start in range(0, len(order), ENCODED_AT_ONCE):
                group = order[start : start + ENCODED_AT_ONCE]
                lengths = torch.tensor([len(encoded[n]) for n in group])
                mask = torch.arange(int(lengths.max())) < lengths[:, None]
                ids = torch.zeros(mask.shape, dtype=torch.long)
                ids[mask] = torch.tensor([token for n in group for token in encoded[n]], dtype=torch.long)
                states = self._model(input_ids=ids.to(device), attention_mask=mask.long().to(device)).last_hidden_state
                states = states.float().cpu() * mask[..., None]
                found[group] = torch.nn.functional.normalize(states.sum(1), dim=-1)
        return found

    def read(self, sets: Sequence[Sequence[Choice]]) -> ChoiceMeanings:
        """The meanings of closed sets of choices."""
        texts = dict.fromkeys(
            text for choices in sets for choice in choices for text in (choice.meaning, *choice.examples)
        )
        vectors = dict(zip(texts, self.encode(list(texts)), strict=True))
        shape = (len(sets), max(map(len, sets)), self.width)
        meanings, examples = torch.zeros(shape), torch.zeros(shape)
        mask = torch.zeros(shape[:2], dtype=torch.bool)
        for row, choices in enumerate(sets):
            for place, choice in enumerate(choices):
                mask[row, place] = True
                meanings[row, place] = vectors[choice.meaning]
                if choice.examples:
                    examples[row, place] = torch.stack([vectors[text] for text in choice.examples]).mean(0)
        return ChoiceMeanings(meanings, examples, mask)
