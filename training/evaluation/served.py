"""The product's own path, for numbers that are the product's and not this package's.

Both services run as child processes: a description is posted to the cloud service, which answers with a recipe and
publishes it; the device assembles the bundle from recipe and bank, merges it into its base GGUF, quantizes, and answers
through llama.cpp. Nothing here imports the device.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cloud_service.generator.checkpoint import read_manifest
from cloud_service.generator.inference import resolve_model
from cloud_service.task import TaskDescription, render_prompt
from loragen import LocalStack
from loragen.client import ModelPair
from training.evaluation.measure import MOST_ANSWER_TOKENS, score_texts
from training.evaluation.suites import SuiteTask

BASE_MODEL = "base"
MERGE_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class PairPaths:
    """Where a generator and its two models lie.

    Attributes:
        base GGUF: The edge model as GGUF; made anew when it is not there.
    """

    generator: Path
    cloud: Path
    edge: Path
    base_gguf: Path

    @classmethod
    def of(cls, folder: Path, cloud: str | None = None, edge: str | None = None) -> Self:
        """A folder with generator/, and cloud/ and edge/ unless other folders or hub ids are named.

        A model without a folder is the one that the generator names: published, and not stored with the pair.

        Raises:
            CheckpointError: A model is neither a folder nor on the hub nor in an installed package.
        """
        if cloud is None and not (folder / "cloud").is_dir():
            cloud = read_manifest(folder / "generator").cloud_model.id
        if edge is None and not (folder / "edge").is_dir():
            edge = read_manifest(folder / "generator").edge_model.id
        return cls(
            folder / "generator",
            resolve_model(cloud or folder / "cloud"),
            resolve_model(edge or folder / "edge"),
            folder / "edge-f16.gguf",
        )


@dataclass(frozen=True, slots=True)
class ServedScores:
    """One task on the device.

    Attributes:
        name: The task.
        score: By column (base, prompted, right): mean over the inputs, under the first description sample.
        guided: The same where each request names the answers possible; empty where the set is open.
        seconds: Median time of one answer, by `prompted` and `specialized`; the device caches prompt prefixes.
        tokens: Median prompt tokens that the device counted, by the same.
        retained delta: Smallest share of the LoRA's change that survived quantization, over the tensors.
    """

    name: str
    score: dict[str, float]
    guided: dict[str, float]
    seconds: dict[str, float]
    tokens: dict[str, float]
    retained_delta: float
    merge_seconds: float


class ServedPair:
    """A cloud service and one device that run."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack

    def score(self, task: SuiteTask, name: str) -> ServedScores:
        """Specializes the device by the first description of a task, and scores its answers.

        Args:
            task: Of any metric but `choice`: the device answers in text.
            name: The specialization's name on the channel.

        Raises:
            ClientError: A service does not do its part.
        """
        description = task.samples[0]
        answer = self._stack.cloud.generate(request_body(description), publish=f"{self._stack.channel}/{name}")
        merged = self._stack.device.wait_until_serving(name, answer.id, timeout_seconds=MERGE_SECONDS)
        ways = {"base": (BASE_MODEL, None), "prompted": (BASE_MODEL, render_prompt(description)), "right": (name, None)}
        score: dict[str, float] = {}
        guided: dict[str, float] = {}
        seconds: dict[str, float] = {}
        tokens: dict[str, float] = {}
        for column, (model, system) in ways.items():
            # The first request may load the model, or fill the prefix cache: it is not what a user waits for later.
            self._answer(model, task.instances[0].input, system)
            answers = [self._answer(model, instance.input, system) for instance in task.instances]
            score[column] = statistics.fmean(score_texts(task, [text for text, _, _ in answers]))
            if task.choices:
                chosen = [
                    self._answer(model, instance.input, system, choices)[0]
                    for instance, choices in zip(task.instances, task.choices, strict=True)
                ]
                guided[column] = statistics.fmean(score_texts(task, chosen))
            if column != "base":
                way = "prompted" if column == "prompted" else "specialized"
                tokens[way] = float(statistics.median(count for _, count, _ in answers))
                seconds[way] = statistics.median(spent for _, _, spent in answers)
        return ServedScores(
            task.name, score, guided, seconds, tokens, merged.retained_delta or 0.0, merged.merge_seconds or 0.0
        )

    def _answer(self, model: str, text: str, system: str | None, choices: Sequence[str] = ()) -> tuple[str, int, float]:
        """Greedy answer, one of the choices where there are any; prompt tokens; seconds."""
        start = time.perf_counter()
        answer = self._stack.device.chat(
            model, text, system=system, temperature=0, max_tokens=MOST_ANSWER_TOKENS, choices=choices
        )
        return answer.text, answer.usage.prompt_tokens, time.perf_counter() - start


@contextmanager
def serve_pair(pair: PairPaths, state: Path, quantization: str) -> Iterator[ServedPair]:
    """Start both services on a pair and wait for them; end them when the block is left.

    Args:
        pair: What is served; a base GGUF that is not there is made under `state`.
        state: Folder for logs, bundles and merged models.
        quantization: Of the device's models.

    Raises:
        ClientError: A service or the conversion fails.
    """
    models = ModelPair(pair.generator, str(pair.cloud), str(pair.edge), pair.base_gguf)
    settings = {"LORAGEN_EDGE_QUANTIZATION": quantization}
    with LocalStack(models, state, channel="evaluation", edge_settings=settings) as stack:
        yield ServedPair(stack)


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
