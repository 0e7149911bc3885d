"""The frozen edge model answering under a LoRA, and the loss on its answers, the same for a generator and an oracle.

Only answer tokens count, each answer alike, however long it is.
"""

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.generator.edge import Factors, UnmergedLora
from training.fit.chat_format import AnswerBatch, ChatFormat


class EdgeAnswers:
    """The frozen edge model, answering under LoRA factors or none; computes in bfloat16 unless `dtype` is float32."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        longest: int,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self.model = model.requires_grad_(False).eval()
        self.chat = ChatFormat(tokenizer, longest)
        self._lora, self._dtype = UnmergedLora(model), dtype

    def logits(self, batch: AnswerBatch, factors: Factors | None, dropout: float = 0.0) -> Tensor:
        """Logits of the answer tokens, (answer tokens, vocabulary) float32."""
        with (
            torch.autocast(batch.ids.device.type, torch.bfloat16, enabled=self._dtype == torch.bfloat16),
            nullcontext() if factors is None else self._lora.applied(factors, dropout),
        ):
            return answer_logits(self.model, batch)

    def states(self, ids: Tensor, factors: Factors | None) -> Tensor:
        """Last hidden states of rows padded on the right, (rows, longest, hidden)."""
        with (
            torch.autocast(ids.device.type, torch.bfloat16, enabled=self._dtype == torch.bfloat16),
            nullcontext() if factors is None else self._lora.applied(factors),
        ):
            states: Tensor = self.model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        return states


def answer_logits(model: PreTrainedModel, batch: AnswerBatch) -> Tensor:
    """Logits of the answer tokens, (answer tokens, vocabulary) float32; the head is spared everywhere else."""
    states = model.get_decoder()(input_ids=batch.ids, use_cache=False).last_hidden_state
    logits: Tensor = model.get_output_embeddings()(states[batch.rows, batch.places]).float()
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return cap * torch.tanh(logits / cap) if cap else logits


def answer_loss(logits: Tensor, batch: AnswerBatch) -> Tensor:
    """Cross entropy, averaged within each answer, then over answers."""
    return answer_losses(logits, batch).mean()


def answer_losses(logits: Tensor, batch: AnswerBatch) -> Tensor:
    """Cross entropy of each answer, averaged over its tokens, (rows,)."""
    losses = nn.functional.cross_entropy(logits, batch.targets, reduction="none")
    lengths = torch.bincount(batch.rows, minlength=len(batch.ids)).clamp(min=1)
    return losses.new_zeros(len(batch.ids)).index_add(0, batch.rows, losses / lengths[batch.rows])
