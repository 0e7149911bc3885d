"""The probe: runs the edge model with and without a LoRA, to show what a bundle changes on given inputs.

Implements `cloud_service.generation.EdgeProbe`. As on a device, the model gets the input without the task description,
or with what the LoRA keeps of it, the residual prompt, in front.
The LoRA is not merged, so the effect of a device's quantization is not measured here.
Under a contract with codes the device samples the first token among the codes, and so does the probe. JSON of a schema,
calls, and choices without codes are held to the contract as on a device (`held_decoding`); likelihoods are not.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.answer.written_answers import answer_pattern, written_answer
from cloud_service.generation import EdgeScores
from cloud_service.generator.chat_format import answer_ids, question_ids
from cloud_service.generator.edge import UnmergedLora, lora_factors
from cloud_service.generator.held_decoding import HeldDecoding
from cloud_service.task import Example
from loragen.contract.answer import TEXT_ANSWER, AnswerContract
from loragen.contract.lora import Lora


class TorchProbe:
    """An edge model with its weights in memory."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._unmerged = UnmergedLora(model)
        self._held = HeldDecoding(tokenizer)

    @property
    def max_tokens(self) -> int:
        return int(self._model.config.get_text_config().max_position_embeddings)

    def count_tokens(self, example: Example, residual_prompt: str = "") -> int:
        question, answer = self._encode(example, residual_prompt)
        return len(question) + len(answer)

    def score(
        self,
        examples: Sequence[Example],
        lora: Lora | None,
        answer: AnswerContract = TEXT_ANSWER,
        residual_prompt: str = "",
    ) -> EdgeScores:
        """Scores by one forward pass for each example; nothing is decoded."""
        device = self._model.device
        factors = lora and {key: (a.to(device), b.to(device)) for key, (a, b) in lora_factors(lora).items()}
        with torch.inference_mode(), self._unmerged.applied(factors) if factors else nullcontext():
            scores = [
                self._score_code(each, answer, residual_prompt)
                if answer.codes
                else self._score_text(each, answer, residual_prompt)
                for each in examples
            ]
        right, likelihoods = zip(*scores, strict=True)
        return EdgeScores(right, sum(likelihoods) / len(likelihoods))

    def _score_text(self, example: Example, answer: AnswerContract, residual_prompt: str) -> tuple[bool, float]:
        """Whether an answer is exact, and its log-likelihood.

        Greedy decoding gives an answer exactly when each of its tokens, its end included, is the likeliest one after
        the tokens before it; under a contract, of those that the device allows.
        """
        text, pattern = written_answer(example.output, answer), answer_pattern(answer)
        question, ids = self._encode(replace(example, output=text), residual_prompt)
        targets = torch.tensor(ids, device=self._model.device)
        logits = self._logits(question + ids, len(ids) + 1)[:-1]  # each from the tokens before its own
        log_probabilities = logits.log_softmax(-1)  # (answer tokens, vocabulary)
        if pattern is None:
            exact = bool((log_probabilities.argmax(-1) == targets).all())
        else:
            exact = self._held.gives(text, logits, pattern)
        return exact, log_probabilities.gather(1, targets[:, None]).sum().item()

    def _score_code(self, example: Example, answer: AnswerContract, residual_prompt: str) -> tuple[bool, float]:
        """Whether the likeliest code after the question is that of the expected choice, and its log-likelihood."""
        expected = answer.options.index(example.output)
        question = self._question(example, residual_prompt)
        log_probabilities = self._logits(question, 1)[0, list(answer.codes)].log_softmax(-1)  # (choices,)
        return int(log_probabilities.argmax()) == expected, log_probabilities[expected].item()

    def _logits(self, ids: list[int], last: int) -> Tensor:
        """Logits after each of the last tokens, (last, vocabulary) float32."""
        batch = torch.tensor([ids], device=self._model.device)
        logits: Tensor = self._model(input_ids=batch, use_cache=False, logits_to_keep=last).logits[0]
        return logits.float()

    def _encode(self, example: Example, residual_prompt: str) -> tuple[list[int], list[int]]:
        return self._question(example, residual_prompt), answer_ids(self._tokenizer, example.output)

    def _question(self, example: Example, residual_prompt: str) -> list[int]:
        return question_ids(self._tokenizer, example.input, residual_prompt or None)
