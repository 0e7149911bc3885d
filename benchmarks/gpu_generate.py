"""How long a generation takes with Llama-3-8B shapes as cloud model, against the cloud model's bare forward pass.

On a GPU: 8.03 billion random bfloat16 weights, made on the device, and a generator with the paper's settings for the
shapes of TinyLlama-1.1B (22 meta vectors, adapter on q and v). Without one, small shapes stand in: they try the
script out, and say nothing of the target.

Three ways take turns within each round on the same prompts, and change places from one round to the next, so that
whatever else the machine does hits all alike; the first round warms up. Figures are medians over rounds:
- bare: the decoder alone, without its head, on the prompts as one batch. It shares the cloud model's weights, and not
  the hooks of the adapter.
- reading: `PromptEncoder.encode`, the prompts with the meta vectors behind them.
- generation: `TorchGenerator.generate` of a calibrated generator, from texts to gates on the host: what the service's
  runner calls. It reads a batch as one on a GPU, and prompt by prompt on a CPU.
Target: generation / bare at most 1.1.

Then it trains for some steps (`training_step`).

    python -m benchmarks.gpu_generate [--device cpu] [--rounds 5] [--out build/gpu_generate.json]
"""

import argparse
import copy
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from benchmarks.figures import Figure, Figures, merge_figures
from benchmarks.random_pair import SHAPES, make_generator, make_model, make_text, make_tokenizer, paper_config
from benchmarks.tinyllama import BUILD, DIGEST
from benchmarks.training_step import Step, StepSize, TrainedPair, measure_step, seconds_on
from cloud_service.generation import Asked
from cloud_service.generator import LoraGenerator, TorchGenerator
from cloud_service.generator.checkpoint import ModelReference, open_bank, store_generator
from cloud_service.generator.confidence_model import Calibration, PromptFeatures, Regression
from cloud_service.generator.edge import edge_shape
from cloud_service.generator.prompt_encoder import encode_prompts, pad_right

DOCUMENT = BUILD / "gpu_generate.json"
ROUNDS = 5
TARGET_RATIO = 1.1

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Setup:
    """What is measured.

    Attributes:
        name: Begins the figures' names.
        cloud, edge: Shapes (`random_pair.SHAPES`).
        dtype: Of both models' weights.
        prompts: Lengths in tokens.
        batches: Prompts generated together.
        most_tokens: Larger batches are left out.
        step: A training step.
        has_target: Whether the project promises anything for these shapes.
    """

    name: str
    cloud: str
    edge: str
    dtype: torch.dtype
    prompts: tuple[int, ...]
    batches: tuple[int, ...]
    most_tokens: int
    step: StepSize
    has_target: bool


LLAMA3_8B = Setup(
    name="llama3_8b",
    cloud="llama3-8b",
    edge="tinyllama-1.1b",
    dtype=torch.bfloat16,
    prompts=(200, 1000, 4000),
    batches=(1, 4, 16),
    most_tokens=64_000,
    step=StepSize(tasks=64, description=500, question=200, answer=50),
    has_target=True,
)
SMALL = Setup(
    name="small",
    cloud="small-cloud",
    edge="small-edge",
    dtype=torch.float32,
    prompts=(200, 1000, 4000),
    batches=(1, 4),
    most_tokens=4000,
    step=StepSize(tasks=8, description=200, question=60, answer=20),
    has_target=False,
)


@dataclass(frozen=True, slots=True)
class GenerationTimes:
    """One length and batch; medians in milliseconds."""

    tokens: int
    batch: int
    bare_ms: float
    reading_ms: float
    generation_ms: float


@dataclass(frozen=True, slots=True)
class Report:
    """All that was measured; None for what did not fit into the device's memory."""

    parameters: int
    generated: dict[tuple[int, int], GenerationTimes | None]
    step: Step | None


def run(device: str | None = None, rounds: int = ROUNDS) -> Figures:
    """Measure with what the device is good for.

    Args:
        device: `cpu`, `cuda`, `cuda:1`, ...; by default a GPU where there is one.
        rounds: Rounds that count.
    """
    target, setup = choose(device)
    return figures(setup, measure(setup, target, rounds), _command(target, rounds))


def choose(device: str | None) -> tuple[torch.device, Setup]:
    """The device, and the shapes for it."""
    target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return target, LLAMA3_8B if target.type == "cuda" else SMALL


def measure(setup: Setup, device: torch.device, rounds: int) -> Report:
    """Make the models, let them generate, then train."""
    torch.manual_seed(0)
    recipe = paper_config()
    cloud = make_model(SHAPES[setup.cloud](), device, setup.dtype)
    bare = _without_hooks(cloud.get_decoder())
    edge = make_model(SHAPES[setup.edge](), device, setup.dtype)
    tokenizer = make_tokenizer()
    generator = make_generator(recipe.generator, cloud, edge_shape(edge.config)).to(device)
    BUILD.mkdir(exist_ok=True)
    generated: dict[tuple[int, int], GenerationTimes | None] = {}
    with tempfile.TemporaryDirectory(prefix="gpu-generate-", dir=BUILD) as directory:
        served = _serve(generator, cloud, tokenizer, Path(directory), device)
        for tokens in setup.prompts:
            for batch in setup.batches:
                if tokens * batch <= setup.most_tokens:
                    prompts = [make_text(tokens - 1, number) for number in range(batch)]
                    one = partial(_generate, generator, served, bare, tokenizer, prompts, device, rounds)
                    generated[tokens, batch] = _fitting(one)
        generator.float()  # as training has it; the served adapter has the cloud model's type
        models = TrainedPair(generator, cloud, bare, edge, tokenizer)
        step = _fitting(lambda: measure_step(models, setup.step, setup.dtype, Path(directory, "steps"), rounds))
    return Report(sum(parameter.numel() for parameter in cloud.parameters()), generated, step)


def figures(setup: Setup, report: Report, command: str) -> Figures:
    """The figures of what fitted; the baseline of each is the bare forward pass."""
    found: dict[str, Figure] = {}
    for one in filter(None, report.generated.values()):
        place = f"{setup.name}_{one.tokens}x{one.batch}"
        target = TARGET_RATIO * one.bare_ms if setup.has_target else None
        found[f"reading_{place}"] = Figure.of(one.reading_ms, "ms", command, baseline=one.bare_ms)
        found[f"generation_{place}"] = Figure.of(one.generation_ms, "ms", command, baseline=one.bare_ms, target=target)
    if (step := report.step) is not None:
        name = f"training_step_{setup.name}"
        found[name] = Figure.of(step.seconds, "s", command, baseline=step.bare_seconds)
        if step.peak_gigabytes is not None:
            found[f"{name}_peak"] = Figure.of(step.peak_gigabytes, "GB", command)
    return found


def render(setup: Setup, report: Report, device: torch.device) -> str:
    """A Markdown table of generations, and a line for the training step."""
    on_gpu = device.type == "cuda"
    place = torch.cuda.get_device_name(device) if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    what = f"{setup.cloud} shapes ({report.parameters / 1e9:.3g} billion parameters, {setup.dtype})"
    lines = [
        f"Cloud model of {what}, {place}, torch {torch.__version__}. Milliseconds, medians.",
        "",
        "| prompt tokens | batch | bare forward | reading | generation | generation / bare |",
        "|---|---|---|---|---|---|",
    ]
    if not on_gpu:
        lines.insert(1, f"No GPU: small shapes stand in, and nothing here speaks of the target of {TARGET_RATIO}.")
    for (tokens, batch), one in report.generated.items():
        row = "does not fit | | |" if one is None else _row(one)
        lines.append(f"| {tokens:,} | {batch} | {row} |")
    size = setup.step
    tasks = (
        f"{size.tasks} descriptions of {size.description} tokens, each with an input of {size.question} "
        f"and an answer of {size.answer}"
    )
    took = "does not fit" if report.step is None else _step(report.step)
    return "\n".join([*lines, "", f"Training step ({tasks}): {took}."])


def _row(one: GenerationTimes) -> str:
    times = " | ".join(f"{ms:,.1f}" for ms in (one.bare_ms, one.reading_ms, one.generation_ms))
    return f"{times} | {one.generation_ms / one.bare_ms:.3f}"


def _step(step: Step) -> str:
    memory = "" if step.peak_gigabytes is None else f", at most {step.peak_gigabytes:.1f} GB of device memory"
    return (
        f"{step.seconds:.3g} s, {step.seconds / step.bare_seconds:.2f} bare forward passes on its descriptions, "
        f"{step.tokens / step.seconds:,.0f} description tokens/s{memory}"
    )


def _without_hooks(decoder: PreTrainedModel) -> PreTrainedModel:
    """Other modules around the same tensors; what is hooked to the decoder later does not act there."""
    tensors = [*decoder.parameters(), *decoder.buffers()]
    twin: PreTrainedModel = copy.deepcopy(decoder, memo={id(tensor): tensor for tensor in tensors})
    return twin


def _serve(
    generator: LoraGenerator,
    cloud: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    device: torch.device,
) -> TorchGenerator:
    """The generator as `load_generator` gives it, but for the models, which are in memory and not on disk."""
    folder = folder / "generator"
    manifest = store_generator(
        folder, generator, ModelReference("random/cloud", DIGEST), ModelReference("random/edge", DIGEST)
    )
    bank = open_bank(folder, manifest, generator.shape)
    size = PromptFeatures.count(generator.prompt_encoder.meta.shape[1])
    calibration = Calibration(
        Regression(np.zeros(size, np.float32), np.ones(size, np.float32), np.zeros(size + 1, np.float32), 0.0, 1.0, 1.0)
    )
    features = PromptFeatures(cloud)
    if generator.prompt_encoder.adapter is not None:
        generator.prompt_encoder.adapter.to(cloud.dtype)
    return TorchGenerator(manifest, bank, generator, features, calibration, tokenizer, tokenizer, folder, {}, device)


def _generate(
    generator: LoraGenerator,
    served: TorchGenerator,
    bare: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    device: torch.device,
    rounds: int,
) -> GenerationTimes:
    ids, lengths = (each.to(device) for each in pad_right(encode_prompts(tokenizer, prompts)))

    def forward() -> object:
        return bare(input_ids=ids, use_cache=False)

    def read() -> object:
        return generator.prompt_encoder.encode(ids, lengths)

    asked = [Asked(prompt) for prompt in prompts]
    with torch.inference_mode():
        times = _take_turns((forward, read, lambda: served.generate(asked)), rounds, device)
    return GenerationTimes(ids.shape[1], len(ids), *times)


def _take_turns(ways: Sequence[Callable[[], object]], rounds: int, device: torch.device) -> list[float]:
    """Median milliseconds of each way."""
    times: list[list[float]] = [[] for _ in ways]
    for number in range(rounds + 1):
        for turn in range(len(ways)):
            way = (turn + number) % len(ways)
            started = seconds_on(device)
            ways[way]()
            if number:
                times[way].append((seconds_on(device) - started) * 1000)
    return [statistics.median(each) for each in times]


def _fitting(work: Callable[[], _T]) -> _T | None:
    """What the work gives, or None when the device's memory does not suffice for it."""
    try:
        return work()
    except torch.OutOfMemoryError:
        pass  # outside of this block, the error's frames and their tensors are gone
    torch.cuda.empty_cache()
    return None


def _command(device: torch.device, rounds: int) -> str:
    return f"python -m benchmarks.gpu_generate --device {device} --rounds {rounds}"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU where there is one)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=DOCUMENT, metavar="FILE", help="figures (default: %(default)s)")
    arguments = parser.parse_args(argv)
    device, setup = choose(arguments.device)
    report = measure(setup, device, arguments.rounds)
    merge_figures(arguments.out, figures(setup, report, _command(device, arguments.rounds)))
    print(f"{render(setup, report, device)}\n\n{arguments.out} written")


if __name__ == "__main__":
    main()
