"""Scores tasks on the product's own path, for numbers that are the product's and not this package's.

A description is posted to the cloud service, which answers with a recipe and publishes it. The device assembles the
bundle from recipe and bank, merges it into its base GGUF, quantizes, and answers through llama.cpp. Both services run
as `loragen.client.LocalStack` starts them.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cloud_service.task import TaskDescription, render_prompt
from loragen.client import LocalStack
from training.evaluation.measure import MOST_ANSWER_TOKENS, score_texts
from training.evaluation.suites import SuiteTask

BASE_MODEL = "base"
MERGE_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class ServedScores:
    """One task on the device.

    Attributes:
        name: The task.
        score: By column (base, prompted, right): mean over the inputs, under the first description sample.
        guided: The same where each request names the answers possible; empty where the set is open.
        seconds: Median time of one answer, by `prompted` and `specialized`; the device caches prompt prefixes.
        tokens: Median prompt tokens that the device counted, by the same.
        retained_delta: Smallest share of the LoRA's change that is left after quantization, over the tensors.
    """

    name: str
    score: dict[str, float]
    guided: dict[str, float]
    seconds: dict[str, float]
    tokens: dict[str, float]
    retained_delta: float
    merge_seconds: float


def score_served(stack: LocalStack, task: SuiteTask, name: str) -> ServedScores:
    """Specializes the device by the first description of a task, and scores its answers.

    Args:
        stack: Both services, running.
        task: Of any metric but `choice`: the device answers in text.
        name: The specialization's name on the channel.

    Raises:
        ClientError: A service does not do its part.
    """
    description = task.samples[0]
    generated = stack.cloud.generate(request_body(description), publish=f"{stack.channel}/{name}")
    merged = stack.device.wait_until_serving(name, generated.id, timeout_seconds=MERGE_SECONDS)
    score: dict[str, float] = {}
    guided: dict[str, float] = {}
    seconds: dict[str, float] = {}
    tokens: dict[str, float] = {}
    for column, model, system in (
        ("base", BASE_MODEL, None),
        ("prompted", BASE_MODEL, render_prompt(description)),
        ("right", name, None),
    ):
        # The first request may load the model, or fill the prefix cache: it is not what a user waits for later.
        _answer(stack, model, task.instances[0].input, system)
        answers = [_answer(stack, model, instance.input, system) for instance in task.instances]
        score[column] = statistics.fmean(score_texts(task, [text for text, _, _ in answers]))
        if task.choices:
            chosen = [
                _answer(stack, model, instance.input, system, choices)[0]
                for instance, choices in zip(task.instances, task.choices, strict=True)
            ]
            guided[column] = statistics.fmean(score_texts(task, chosen))
        if column != "base":
            way = "prompted" if column == "prompted" else "specialized"
            tokens[way] = float(statistics.median(count for _, count, _ in answers))
            seconds[way] = statistics.median(spent for _, _, spent in answers)
    return ServedScores(
        task.name, score, guided, seconds, tokens, float(merged.retained_delta or 0), float(merged.merge_seconds or 0)
    )


def request_body(task: TaskDescription) -> dict[str, Any]:
    """The body of `POST /generate-lora` for a task; the service renders the same prompt from it."""
    return {
        "description": task.description,
        "examples": [{"input": example.input, "output": example.output} for example in task.examples],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": {"type": "object", "properties": {name: {} for name in tool.parameters}},
                },
            }
            for tool in task.tools
        ],
        "output_format": task.output_format,
    }


def _answer(
    stack: LocalStack, model: str, text: str, system: str | None, choices: Sequence[str] = ()
) -> tuple[str, int, float]:
    """Greedy answer, one of the choices where there are any; prompt tokens; seconds."""
    start = time.perf_counter()
    answer = stack.device.chat(
        model, text, system=system or None, temperature=0, max_tokens=MOST_ANSWER_TOKENS, choices=choices
    )
    return answer.text, answer.usage.prompt_tokens, time.perf_counter() - start
