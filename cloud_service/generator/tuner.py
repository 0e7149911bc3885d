"""The tuner in torch: the edge model in memory, and what refines a recipe on it. Implements `EdgeTuner`.

A recipe with keys has its keys tuned (`key_tuning`), any other its gates (`gate_tuning`). As on a device, the model
gets each input without the task description, or with the residual prompt in front.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.answer.choices import chosen_option
from cloud_service.answer.written_answers import answer_pattern, written_answer
from cloud_service.generator.chat_format import answer_ids, question_ids
from cloud_service.generator.edge import UnmergedLora, lora_factors
from cloud_service.generator.gate_tuning import Encoded, OpenTask, tune_gates
from cloud_service.generator.held_decoding import HeldDecoding
from cloud_service.generator.key_tuning import FOLDS, ClosedSet, tune_keys
from cloud_service.generator.last_layer import LastLayer, LastStates
from cloud_service.refine.held_out import folds, hold_out
from cloud_service.refinement import OnProgress, RefinementOutcome, RefinePlan, example_too_long
from cloud_service.task import Example, is_shown_in
from loragen.contract.assembly import assemble
from loragen.contract.bank import Bank
from loragen.contract.recipe import Recipe

READ_AT_ONCE = 24
READING_SHARE = 0.7
"""Of the budget, for reading the inputs of a closed set; those that are not read by then are left out."""


class TorchTuner:
    """An edge model with its weights in memory.

    Args:
        model: The edge model.
        tokenizer: Its tokenizer.
        bank: That of the recipes that are refined.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, bank: Bank) -> None:
        self._model, self._tokenizer, self._bank = model, tokenizer, bank
        self._unmerged = UnmergedLora(model)
        self._held = HeldDecoding(tokenizer)
        self._context = int(model.config.get_text_config().max_position_embeddings)

    def use_threads(self, count: int) -> None:
        usual = torch.get_num_threads()
        torch.set_num_threads(count)
        # The call above counts for this thread and for those that compute later for the first time. The latter get
        # their number back from a thread that is made for it.
        restoring = threading.Thread(target=torch.set_num_threads, args=(usual,))
        restoring.start()
        restoring.join()

    def refine(
        self, recipe: Recipe, examples: Sequence[Example], shown: int, plan: RefinePlan, on_progress: OnProgress
    ) -> tuple[Recipe, RefinementOutcome]:
        started = time.monotonic()
        refine = self._refine_gates if recipe.keys is None else self._refine_keys
        refined, report = refine(recipe, examples, shown, plan, on_progress)
        return refined, replace(report, seconds=time.monotonic() - started)

    def _refine_gates(
        self, recipe: Recipe, examples: Sequence[Example], shown: int, plan: RefinePlan, on_progress: OnProgress
    ) -> tuple[Recipe, RefinementOutcome]:
        deadline = time.monotonic() + plan.budget_seconds
        encoded = self._encode(examples, recipe)
        held_out = set(hold_out(examples, shown, lambda number: sum(map(len, encoded[number]))))
        trained = [number for number in range(len(examples)) if number not in held_out]
        # The answer of one that stands in the residual prompt could be copied from there.
        tuned_on = [
            number for number in trained if not is_shown_in(recipe.residual_prompt, examples[number])
        ] or trained
        task = OpenTask(
            self._model,
            self._unmerged,
            self._bank,
            recipe.gates,
            [encoded[number] for number in tuned_on],
            [encoded[number] for number in sorted(held_out)],
            self._judge(examples, recipe),
        )
        gates, report = tune_gates(task, plan.steps, deadline, on_progress)
        return (replace(recipe, gates=gates) if report.kept else recipe), report

    def _judge(self, examples: Sequence[Example], recipe: Recipe) -> Callable[[list[int], Tensor], bool] | None:
        """What says whether a device gives an answer under the recipe's contract; None where it may be any text."""
        pattern = answer_pattern(recipe.answer)
        if pattern is None:
            return None
        written = {written_answer(each.output, recipe.answer) for each in examples}
        text_of = {tuple(answer_ids(self._tokenizer, text)): text for text in written}
        return lambda answer, logits: self._held.gives(text_of[tuple(answer)], logits, pattern)

    def _refine_keys(
        self, recipe: Recipe, examples: Sequence[Example], shown: int, plan: RefinePlan, on_progress: OnProgress
    ) -> tuple[Recipe, RefinementOutcome]:
        assert recipe.keys is not None
        if len(recipe.keys) != 1:
            raise ValueError(f"the choice head has {len(recipe.keys)} layers, expected the last one alone")
        began, options = time.monotonic(), recipe.answer.options
        self._encode(examples, recipe)
        layer = LastLayer(self._model, self._tokenizer, self._context)
        states = self._read(layer, recipe, examples, began + READING_SHARE * plan.budget_seconds, on_progress)
        chosen = [chosen_option(example.output, options) for example in examples[: len(states.read)]]
        closed = ClosedSet(
            layer,
            self._bank.choice_factors(self._bank.header.layers - 1),
            recipe.answer.codes,
            recipe.keys,
            states,
            torch.tensor(chosen, device=self._model.device),
        )
        # A call is the option that it names, so that options are spread over the folds.
        answered = [replace(each, output=str(place)) for each, place in zip(examples, chosen, strict=False)]
        keys, report = tune_keys(closed, folds(answered, shown, FOLDS), began + plan.budget_seconds, on_progress)
        return (replace(recipe, keys=keys) if report.kept else recipe), report

    def _read(
        self, layer: LastLayer, recipe: Recipe, examples: Sequence[Example], deadline: float, on_progress: OnProgress
    ) -> LastStates:
        """The ends of the inputs, of as many as there is time for: under the gates, and without the choice head."""
        factors = None
        if np.any(recipe.gates):
            device = self._model.device
            lora = assemble(self._bank, recipe.gates)
            factors = {key: (a.to(device), b.to(device)) for key, (a, b) in lora_factors(lora).items()}
        found: list[LastStates] = []
        with self._unmerged.applied(factors) if factors else nullcontext():
            for start in range(0, len(examples), READ_AT_ONCE):
                if start and time.monotonic() > deadline:
                    break
                on_progress(0, 1)
                texts = [each.input for each in examples[start : start + READ_AT_ONCE]]
                found.append(layer.states(texts, recipe.residual_prompt or None))
        parts = ((each.read for each in found), (each.written for each in found), (each.rest for each in found))
        return LastStates(*(torch.cat(list(part)) for part in parts))

    def _encode(self, examples: Sequence[Example], recipe: Recipe) -> list[Encoded]:
        """Ids of the questions and answers, these as a device lets the model write them.

        Raises:
            InvalidRequestError: One does not fit the edge model's context.
        """
        encoded = []
        for number, each in enumerate(examples):
            question = question_ids(self._tokenizer, each.input, recipe.residual_prompt or None)
            answer = answer_ids(self._tokenizer, written_answer(each.output, recipe.answer))
            if len(question) + len(answer) > self._context:
                raise example_too_long(number, self._context, len(question) + len(answer))
            encoded.append((question, answer))
        return encoded
