"""The loss on answers, the same for a generator and for an oracle: only answer tokens count, each answer alike.

Which LoRA the model answers under, and in what precision, is the caller's.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from training.fit.chat_format import AnswerBatch


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
