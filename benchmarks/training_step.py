"""How long a step of generator training takes, against the cloud model's bare forward pass on the step's descriptions.

The steps are those of `training.fit.generator.train_generator` with the settings of the config tinyllama-llama3-8b: an
adapter on q and v of the frozen cloud model, whose activations are computed twice. A step lasts from its drawing to
the next one's, the optimizer and the log included; the bare pass runs between steps. The first step warms up.
"""

import random
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from benchmarks.random_pair import make_text, paper_config
from cloud_service.generator import LoraGenerator
from cloud_service.generator.prompt_encoder import pad_right
from cloud_service.task import TaskDescription
from training.data.corpus import Split
from training.data.episodes import Episode, Instance, Mixture
from training.fit.edge_answers import EdgeAnswers
from training.fit.generator import EpisodeBatches, GeneratorSettings, train_generator


@dataclass(frozen=True, slots=True)
class StepSize:
    """Descriptions of a step, each with one input, and the tokens of each part."""

    tasks: int
    description: int
    question: int
    answer: int


@dataclass(frozen=True, slots=True)
class TrainedPair:
    """What trains, all of it on one device.

    Attributes:
        bare: The cloud model's decoder without what is hooked to it.
        tokenizer: Of both models, one token a byte.
    """

    generator: LoraGenerator
    cloud: PreTrainedModel
    bare: PreTrainedModel
    edge: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Step:
    """Medians over steps.

    Attributes:
        tokens: That the cloud model reads in a step, without meta vectors.
        bare_seconds: The bare pass.
        seconds: The step.
        peak_gigabytes: Most memory of the device that tensors took; None on a CPU, where nobody counts.
    """

    tokens: int
    bare_seconds: float
    seconds: float
    peak_gigabytes: float | None


def measure_step(pair: TrainedPair, size: StepSize, dtype: torch.dtype, directory: Path, rounds: int) -> Step:
    """Train for some steps.

    Args:
        pair: The models; the generator and its adapter are trained in place.
        size: Of a step.
        dtype: What training computes in, bfloat16 or float32.
        directory: Where training keeps its state.
        rounds: Steps that count.
    """
    device = pair.generator.prompt_encoder.meta.device
    settings = replace(
        paper_config().fit,
        steps=rounds + 2,  # the first warms up, and nothing ends the last
        warmup=1,
        tasks=size.tasks,
        precision="bfloat16" if dtype == torch.bfloat16 else "float32",
    )
    batches = _WatchedBatches(pair, size, settings, device)
    answers = EdgeAnswers(pair.edge, pair.tokenizer, settings.longest_turn, dtype)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    train_generator(pair.generator, pair.cloud, answers, batches, settings, directory)
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
    seconds = [end - start for start, end in zip(batches.began[1:-1], batches.ended[2:], strict=True)]
    return Step(size.tasks * size.description, statistics.median(batches.bare[1:]), statistics.median(seconds), peak)


def seconds_on(device: torch.device) -> float:
    """The time, when the device has done everything that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass(frozen=True, slots=True)
class _EvenTasks:
    """A family of tasks that all have the same lengths."""

    size: StepSize
    name: str = "even"

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        # A prompt begins with a token of its own, an input ends with a line break, and an answer with its end.
        task = TaskDescription(make_text(self.size.description - 1, rng.randrange(1000)))
        instance = Instance(make_text(self.size.question - 1), make_text(self.size.answer - 1))
        return Episode(self.name, task, (instance,) * inputs)


class _WatchedBatches(EpisodeBatches):
    """Draws as training does, and takes the time.

    Attributes:
        began, ended: When, in seconds; what ended was the step before.
        bare: Seconds of the bare pass that runs between steps.
    """

    def __init__(self, pair: TrainedPair, size: StepSize, settings: GeneratorSettings, device: torch.device) -> None:
        super().__init__(Mixture("even", [_EvenTasks(size)], [1.0]), pair.tokenizer, settings)
        self._bare, self._device = pair.bare, device
        self.began: list[float] = []
        self.ended: list[float] = []
        self.bare: list[float] = []

    def draw(self, step: int, split: Split = "train") -> tuple[list[Episode], list[list[int]]]:
        self.ended.append(seconds_on(self._device))
        prompts = super().draw(step, split)[1]
        groups = pad_right(prompts)[0].to(self._device).chunk(4)  # as a step groups them
        started = seconds_on(self._device)
        with torch.inference_mode():
            for ids in groups:
                self._bare(input_ids=ids, use_cache=False)
        self.began.append(seconds_on(self._device))
        self.bare.append(self.began[-1] - started)
        return super().draw(step, split)
