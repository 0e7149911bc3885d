"""Scores of a pair on suite tasks with its controls on the same inputs, un-merged and in one process.

Quick enough to choose settings on validation tasks. The numbers of the product, merged and quantized as served, come
from `training.evaluation.served`.
"""

import random
from collections.abc import Sequence

import numpy as np
import torch
from rouge_score.rouge_scorer import RougeScorer
from transformers import PreTrainedTokenizerBase

from cloud_service.generator import LoraGenerator
from cloud_service.generator.edge import Factors
from cloud_service.generator.prompt_encoder import encode_prompts, pad_right
from cloud_service.task import TaskDescription, render_prompt
from training.data.gibberish import gibberish
from training.evaluation.edge_writer import Answers, EdgeWriter
from training.evaluation.intervals import TaskScores, Values
from training.evaluation.suites import SuiteTask
from training.fit.oracle import TaskFactors

MORE_ANSWER_TOKENS = 4
MOST_ANSWER_TOKENS = 64


class Measurement:
    """Scores tasks of one pair."""

    def __init__(self, generator: LoraGenerator, tokenizer: PreTrainedTokenizerBase, writer: EdgeWriter) -> None:
        self._generator, self._tokenizer, self._writer = generator, tokenizer, writer
        self._limit = generator.config.max_prompt_tokens

    def factors(self, descriptions: Sequence[TaskDescription]) -> Factors:
        """LoRA factors of each description; one too long for the cloud model loses its end."""
        prompts = [render_prompt(description) for description in descriptions]
        encoded = [ids[: self._limit] for ids in encode_prompts(self._tokenizer, prompts)]
        device = self._generator.prompt_encoder.meta.device
        with torch.inference_mode():
            ids, lengths = pad_right(encoded)
            gates = self._generator(ids.to(device), lengths.to(device))
            factors: Factors = self._generator.bank(gates)
        return factors

    def score(self, task: SuiteTask, mismatched: SuiteTask, oracle: TaskFactors | None) -> TaskScores:
        """Every column on the same inputs; the oracle's only where there is one.

        Args:
            task: What is asked.
            mismatched: The task, of the same suite, whose descriptions are read instead.
            oracle: Factors trained on the task.
        """
        longest = self._longest_answer(task)
        rng = random.Random(f"gibberish/{task.name}")
        samples = len(task.samples)
        others = [mismatched.samples[number % len(mismatched.samples)] for number in range(samples)]
        nonsense = [gibberish(rng, len(render_prompt(sample))) for sample in task.samples]
        inputs = [instance.input for instance in task.instances]

        def answer(factors: Factors | None, *prompts: str | None) -> Answers:
            systems = [prompt for prompt in prompts for _ in inputs]
            rows = len(prompts)
            return self._writer.answer(inputs * rows, systems, factors, longest, task.choices * rows)

        def specialized(descriptions: Sequence[TaskDescription]) -> Answers:
            return answer(self.factors(descriptions), *map(self._residual_prompt, descriptions))

        base = answer(None, None)
        # One description at a time: a batch of long prompts with all their choices takes too much memory.
        prompted = [answer(None, render_prompt(sample)) for sample in task.samples]
        right = specialized(task.samples)
        answers = {
            "base": [base],
            "prompted": prompted,
            "right": [right],
            "mismatched": [specialized(others)],
            "gibberish": [specialized(nonsense)],
        }
        if oracle is not None:
            answers["oracle"] = [answer(oracle, None)]
        return TaskScores(
            task.name,
            {column: self._rows(task, found) for column, found in answers.items()},
            {column: choice_scores(task, found) for column, found in answers.items()} if task.choices else {},
            {
                "prompted": float(np.mean([count for found in prompted for count in found.tokens])),
                "specialized": float(np.mean(right.tokens)),
            },
            task.group,
        )

    def _residual_prompt(self, description: TaskDescription) -> str | None:
        return self._writer.chat.residual_prompt(description, self._generator.config.residual_prompt_tokens)

    def _rows(self, task: SuiteTask, found: Sequence[Answers]) -> Values:
        if task.metric == "choice":
            return choice_scores(task, found)
        texts = [text for answers in found for text in answers.texts]
        return np.array(score_texts(task, texts)).reshape(-1, len(task.instances))

    def _longest_answer(self, task: SuiteTask) -> int:
        if task.metric == "choice":
            return 0
        longest = max(len(self._writer.chat.answer(instance.output)) for instance in task.instances)
        return min(longest + MORE_ANSWER_TOKENS, MOST_ANSWER_TOKENS)


def score_texts(task: SuiteTask, texts: Sequence[str]) -> list[float]:
    """What the metric of a task says of answers, the instances in turn as often as needed."""
    expected = [task.instances[row % len(task.instances)].output for row in range(len(texts))]
    if task.metric == "rouge_l":
        return [rouge_l(answer, text) for answer, text in zip(expected, texts, strict=True)]
    return [float(text.strip() == answer.strip()) for answer, text in zip(expected, texts, strict=True)]


def choice_scores(task: SuiteTask, found: Sequence[Answers]) -> Values:
    """Whether the likeliest choice is the right one, (samples, inputs); for long choices, the likeliest by byte."""
    count = len(task.instances)
    chosen = [n for a in found for n in (a.chosen_by_byte if task.metric == "choice" else a.chosen)]
    right = [
        float(task.choices[row % count][number] == task.instances[row % count].output)
        for row, number in enumerate(chosen)
    ]
    return np.array(right).reshape(-1, count)


def rouge_l(expected: str, answer: str) -> float:
    """F-measure of the longest common subsequence of words, in [0, 1]; equal texts without a word score 1."""
    if expected.strip() == answer.strip():
        return 1.0
    return float(RougeScorer(["rougeL"]).score(expected, answer)["rougeL"].fmeasure)


def pick_mismatched(tasks: Sequence[SuiteTask], index: int) -> SuiteTask:
    """The next task: of the same group, where the task has one; else of another name."""
    task = tasks[index]
    later = [*tasks[index + 1 :], *tasks[:index]]
    same = [other for other in later if task.group and other.group == task.group]
    return next(iter([*same, *(other for other in later if other.name != task.name), task]))
