"""The frozen edge model answering under a LoRA, the same for a generator and an oracle."""

from contextlib import nullcontext

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.generator.answer_batch import AnswerBatch, answer_logits
from cloud_service.generator.edge import Factors, UnmergedLora
from training.fit.chat_format import ChatFormat


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
