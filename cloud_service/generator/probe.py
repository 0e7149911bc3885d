"""The probe: runs the edge model with and without a LoRA, to show what a bundle changes on given inputs.

Implements `cloud_service.generation.EdgeProbe`. As on a device, the model gets the input without the task description.
The LoRA is not merged, so the effect of a device's quantization is not measured here.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.generation import ProbeScores
from cloud_service.generator.chat_format import answer_ids, question_ids
from cloud_service.generator.edge import UnmergedLora, lora_factors
from cloud_service.task import Example
from loragen.contract.lora import Lora


class TorchProbe:
    """An edge model with its weights in memory."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._unmerged = UnmergedLora(model)

    @property
    def max_tokens(self) -> int:
        return int(self._model.config.get_text_config().max_position_embeddings)

    def count_tokens(self, example: Example) -> int:
        question, answer = self._encode(example)
        return len(question) + len(answer)

    def score(self, examples: Sequence[Example], lora: Lora | None) -> ProbeScores:
        """Scores by one forward pass for each example.

        Nothing is decoded: greedy decoding gives an answer exactly when each of its tokens, its end included, is the
        likeliest one after the tokens before it.
        """
        device = self._model.device
        factors = lora and {key: (a.to(device), b.to(device)) for key, (a, b) in lora_factors(lora).items()}
        exact, likelihoods = [], []
        with torch.inference_mode(), self._unmerged.applied(factors) if factors else nullcontext():
            for example in examples:
                question, answer = self._encode(example)
                targets = torch.tensor(answer, device=device)
                log_probabilities = self._predict(question + answer, len(answer))
                exact.append(bool((log_probabilities.argmax(-1) == targets).all()))
                likelihoods.append(log_probabilities.gather(1, targets[:, None]).sum().item())
        return ProbeScores(sum(exact) / len(exact), sum(likelihoods) / len(likelihoods))

    def _predict(self, ids: list[int], answer_tokens: int) -> Tensor:
        """Log-probabilities of the last tokens, (answer tokens, vocabulary) float32, each from the tokens before it."""
        batch = torch.tensor([ids], device=self._model.device)
        logits = self._model(input_ids=batch, use_cache=False, logits_to_keep=answer_tokens + 1).logits[0, :-1]
        return logits.float().log_softmax(-1)

    def _encode(self, example: Example) -> tuple[list[int], list[int]]:
        return question_ids(self._tokenizer, example.input), answer_ids(self._tokenizer, example.output)
