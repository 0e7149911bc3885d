"""What edge models of true shapes cost on both sides: TinyLlama-1.1B, Qwen2-1.5B, Gemma-2-2B, with random weights.

One pair for each family: a Hugging Face folder of the edge model's shapes in bfloat16, a small cloud model (its size is
not the point here), and a generator with the paper's settings (8 experts of rank 16). Then everything that happens to
an edge model in a life, through the product's own functions and with one and the same bundle:
- cloud: `load_generator`, which reads the edge model's files for their digest and takes nothing else of it than
  configuration and tokenizer; a generation for a prompt of 200 tokens, and the assembly of its bundle (medians of 7).
- probe: `load_probe`, the edge model's weights in float32, which only requests with a probe need; one example scored.
- device: convert to an F16 base GGUF; merge to Q4_0, the first time and with the untouched tensors cached; load the
  merged model and answer 50 tokens with 8.

Every step is a process of its own, so that its peak resident memory is its own (imports included). Pages of mapped
files count in it, though the system may take them back at any time; what it may not, anonymous memory, is sampled and
given apart. Beside each wall time stands the processor time of all threads, which other work on the machine hardly
changes. Takes up to 14 GB of disk under `build/` and 12 GB of memory, for Gemma; all of it is given back. Linux only.

    python -m benchmarks.edge_shapes [--families tinyllama-1.1b,qwen2-1.5b,gemma2-2b]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figure, Figures, merge_figures
from benchmarks.memory import status_bytes
from benchmarks.tinyllama import BUILD
from loragen.contract.assembly import build_bundle
from loragen.contract.bundle import parse_bundle
from loragen.contract.digest import model_digest
from loragen.contract.recipe import Recipe

DOCUMENT = BUILD / "edge_shapes.json"
FAMILIES = ("tinyllama-1.1b", "qwen2-1.5b", "gemma2-2b")
TYPE = "Q4_0"
REPEATS = 7
DESCRIPTION_TOKENS = 200
QUESTION_TOKENS = 50
ANSWER_TOKENS = 8
CONTEXT_TOKENS = 512
SAMPLE_SECONDS = 0.01
BUNDLE, BASE, MERGED = "bundle.safetensors", "base.gguf", "merged.gguf"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step took.

    Attributes:
        seconds: Wall time.
        cpu_seconds: Processor time of all threads.
        peak_mb: Peak resident memory of the process, 10^6 bytes.
        anonymous_mb: Most memory of it that is no page of a file.
        found: What else the step has to say, by name.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    anonymous_mb: float
    found: Mapping[str, float]


def run(families: Sequence[str] = FAMILIES) -> Figures:
    """Measure each family.

    Raises:
        BenchmarkError: A step failed.
    """
    found: dict[str, Figure] = {}
    for family in families:
        found |= figures(family, measure(family), _command(family))
    return found


def measure(family: str) -> dict[str, Cost]:
    """All steps with one family, by name.

    Raises:
        BenchmarkError: A step failed.
    """
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edge-shapes-", dir=BUILD) as folder:
        return {step: take_apart(step, family, Path(folder)) for step in _STEPS}


def render(measured: Mapping[str, Mapping[str, Cost]]) -> str:
    """A Markdown table, one column a family."""
    lines = [f"| | {' | '.join(measured)} |", "|---" * (len(measured) + 1) + "|"]
    for label, cell in _ROWS.items():
        lines.append(f"| {label} | {' | '.join(cell(costs) for costs in measured.values())} |")
    return "\n".join(lines)


def _time(cost: Cost) -> str:
    return f"{cost.seconds:.1f} ({cost.cpu_seconds:.1f})"


def _found_time(cost: Cost, name: str) -> str:
    return f"{cost.found[f'{name}_seconds']:.2f} ({cost.found[f'{name}_cpu_seconds']:.2f})"


def _memory(cost: Cost) -> str:
    return f"{cost.peak_mb:,.0f} ({cost.anonymous_mb:,.0f}) MB"


_ROWS: Mapping[str, Callable[[Mapping[str, Cost]], str]] = {
    "parameters": lambda costs: f"{costs['make'].found['parameters'] / 1e9:.2f} billion",
    "bank": lambda costs: f"{costs['make'].found['bank_mb']:.0f} MB",
    "cloud: load, s (CPU s)": lambda costs: _time(costs["cloud"]),
    "of it digest of the edge model, s (CPU s)": lambda costs: _found_time(costs["cloud"], "digest"),
    "generate, s (CPU s)": lambda costs: _found_time(costs["cloud"], "generate"),
    "assemble, s (CPU s)": lambda costs: _found_time(costs["cloud"], "assemble"),
    "bundle": lambda costs: f"{costs['cloud'].found['bundle_mb']:.1f} MB",
    "peak memory (anonymous)": lambda costs: _memory(costs["cloud"]),
    "probe: load and score, s (CPU s)": lambda costs: _time(costs["probe"]),
    "probe: peak memory (anonymous)": lambda costs: _memory(costs["probe"]),
    "device: convert to F16, s (CPU s)": lambda costs: _time(costs["convert"]),
    "convert: peak memory (anonymous)": lambda costs: _memory(costs["convert"]),
    "F16 base GGUF": lambda costs: f"{costs['convert'].found['base_mb']:,.0f} MB",
    f"first merge to {TYPE}, s (CPU s)": lambda costs: _time(costs["merge"]),
    "merge again, s (CPU s)": lambda costs: _time(costs["merge_again"]),
    "merge: peak memory (anonymous)": lambda costs: _memory(costs["merge"]),
    "merged model, least retained delta": lambda costs: (
        f"{costs['merge'].found['merged_mb']:,.0f} MB, {costs['merge'].found['retained_delta']:.2f}"
    ),
    "load merged model, s (CPU s)": lambda costs: _time(costs["serve"]),
    f"answer {QUESTION_TOKENS} tokens with {ANSWER_TOKENS}, s (CPU s)": lambda costs: _found_time(
        costs["serve"], "answer"
    ),
    "serve: peak memory (anonymous)": lambda costs: _memory(costs["serve"]),
}


def figures(family: str, costs: Mapping[str, Cost], command: str) -> Figures:
    """The figures of one family; the baseline of memory is the size of the weights in bfloat16."""
    found: dict[str, Figure] = {}
    units = {"mb": "MB", "seconds": "s"}
    for step, cost in costs.items():
        if step != "make":
            found[f"{family}_{step}"] = Figure.of(cost.seconds, "s", command)
            found[f"{family}_{step}_cpu"] = Figure.of(cost.cpu_seconds, "s", command)
            found[f"{family}_{step}_peak"] = Figure.of(
                cost.peak_mb, "MB", command, baseline=costs["make"].found["weights_mb"]
            )
        for name, value in cost.found.items():
            if (unit := units.get(name.rsplit("_", 1)[-1])) is not None:
                found[f"{family}_{name.rsplit('_', 1)[0]}"] = Figure.of(value, unit, command)
    return found


def _command(family: str) -> str:
    return f"python -m benchmarks.edge_shapes --families {family}"


def take_apart(step: str, family: str, folder: Path) -> Cost:
    """A step in a process of its own.

    Raises:
        BenchmarkError: It failed.
    """
    command = [sys.executable, "-m", "benchmarks.edge_shapes", "--step", step, family, str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["(no message)"])[-1]
        raise BenchmarkError(f"{family}, step {step} ended with {done.returncode}: {last}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def take_here(step: str, family: str, folder: Path) -> Cost:
    """A step in this process, whose memory is then the most that it ever had."""
    watch, memory = _Watch(), _Memory()
    found = _STEPS[step](family, folder, watch)
    return Cost(watch.seconds, watch.cpu_seconds, *memory.read(), found)


class _Watch:
    """Takes the time of what a step is about, its preparations left out: medians, once the first call has warmed up."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, float]] = []

    def __call__(self, work: Callable[[], _T]) -> _T:
        started, cpu = time.perf_counter(), time.process_time()
        result = work()
        self._taken.append((time.perf_counter() - started, time.process_time() - cpu))
        return result

    @property
    def seconds(self) -> float:
        """Wall time."""
        return statistics.median(wall for wall, _ in self._counted)

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all threads."""
        return statistics.median(cpu for _, cpu in self._counted)

    @property
    def _counted(self) -> list[tuple[float, float]]:
        return self._taken[1:] or self._taken


class _Memory:
    """Watches this process's memory. The kernel keeps the peak of all of it, and of the anonymous part nothing."""

    def __init__(self) -> None:
        self._anonymous, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def read(self) -> tuple[float, float]:
        """Peak resident memory and most anonymous memory, in 10^6 bytes."""
        self._done.set()
        self._thread.join()
        return status_bytes("VmHWM") / 1e6, self._anonymous / 1e6

    def _watch(self) -> None:
        while True:
            self._anonymous = max(self._anonymous, status_bytes("RssAnon"))
            if self._done.wait(SAMPLE_SECONDS):
                return


# The steps import what they need: a step's memory is not to include the libraries of another.


def _make(family: str, folder: Path, timed: _Watch) -> dict[str, float]:
    """The pair on disk."""
    from benchmarks.random_pair import SHAPES, store_model, store_random_generator

    parameters = timed(lambda: store_model(SHAPES[family](), folder / "edge"))
    store_model(SHAPES["small-cloud"](), folder / "cloud")
    bank = store_random_generator(folder / "generator", folder / "cloud", folder / "edge")
    return {
        "parameters": float(parameters),
        "bank_mb": _megabytes(bank),
        "weights_mb": _megabytes(folder / "edge" / "model.safetensors"),
    }


def _cloud(family: str, folder: Path, timed: _Watch) -> dict[str, float]:
    """A generator in memory, and what it makes."""
    from benchmarks.random_pair import make_text
    from cloud_service.generation import Asked
    from cloud_service.generator import load_generator

    generator = timed(lambda: load_generator(folder / "generator", folder / "cloud", folder / "edge"))
    info, bank = generator.info, generator.bank
    digest, generate, assemble = _Watch(), _Watch(), _Watch()
    digest(lambda: model_digest(folder / "edge"))
    for number in range(REPEATS + 1):
        (generation,) = generate(partial(generator.generate, [Asked(make_text(DESCRIPTION_TOKENS - 1, number))]))
        recipe = Recipe(
            info.id,
            info.digest,
            bank.digest,
            info.edge_model_id,
            info.edge_model_digest,
            generation.prompt_tokens,
            generation.gates,
        )
        bundle = assemble(partial(build_bundle, bank, recipe))
    (folder / BUNDLE).write_bytes(bundle)
    return {
        "digest_seconds": digest.seconds,
        "digest_cpu_seconds": digest.cpu_seconds,
        "generate_seconds": generate.seconds,
        "generate_cpu_seconds": generate.cpu_seconds,
        "assemble_seconds": assemble.seconds,
        "assemble_cpu_seconds": assemble.cpu_seconds,
        "bundle_mb": len(bundle) / 1e6,
    }


def _probe(family: str, folder: Path, timed: _Watch) -> dict[str, float]:
    """The edge model's weights on the cloud's side, and one example scored under the bundle."""
    from benchmarks.random_pair import make_text
    from cloud_service.generator import load_generator
    from cloud_service.task import Example

    generator = load_generator(folder / "generator", folder / "cloud", folder / "edge")
    lora = parse_bundle((folder / BUNDLE).read_bytes()).lora
    example = Example(make_text(QUESTION_TOKENS), make_text(ANSWER_TOKENS))
    scores = timed(lambda: generator.load_probe().score([example], lora))
    return {"log_likelihood": scores.log_likelihood}


def _convert(family: str, folder: Path, timed: _Watch) -> dict[str, float]:
    """The Hugging Face folder to a base GGUF."""
    from edge_runtime.convert import FloatType, convert_model

    timed(lambda: convert_model(folder / "edge", folder / BASE, FloatType.F16, f"random/{family}"))
    return {"base_mb": _megabytes(folder / BASE)}


def _merge(family: str, folder: Path, timed: _Watch) -> dict[str, float]:
    """The bundle into the base GGUF; the second time, untouched tensors come from the cache."""
    from edge_runtime.gguf.quantization import Quantization
    from edge_runtime.merge import merge

    bundle = parse_bundle((folder / BUNDLE).read_bytes())
    report = timed(lambda: merge(folder / BASE, bundle, folder / MERGED, Quantization(TYPE), folder / "cache"))
    return {"merged_mb": report.bytes / 1e6, "retained_delta": report.min_retained_delta}


def _serve(family: str, folder: Path, timed: _Watch) -> dict[str, float]:
    """The merged model in the device's engine."""
    from edge_runtime.config import EdgeSettings
    from edge_runtime.serving.completion import CompletionRequest, TokenPrompt, complete_alone
    from edge_runtime.serving.engine import GREEDY
    from edge_runtime.serving.llama import LlamaLoader

    loader = LlamaLoader(CONTEXT_TOKENS, EdgeSettings().effective_threads)
    engine = timed(lambda: loader.load(folder / MERGED, None))
    prompt, answer = TokenPrompt(tuple(range(2, 2 + QUESTION_TOKENS))), _Watch()
    answer(lambda: list(complete_alone(engine, CompletionRequest(prompt, GREEDY, ANSWER_TOKENS))))
    engine.close()
    return {"answer_seconds": answer.seconds, "answer_cpu_seconds": answer.cpu_seconds}


def _megabytes(path: Path) -> float:
    return path.stat().st_size / 1e6


_STEPS: Mapping[str, Callable[[str, Path, _Watch], dict[str, float]]] = {
    "make": _make,
    "cloud": _cloud,
    "probe": _probe,
    "convert": _convert,
    "merge": _merge,
    "merge_again": _merge,
    "serve": _serve,
}
"""In the order in which each finds what it needs."""


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--out", type=Path, default=DOCUMENT, metavar="FILE", help="figures (default: %(default)s)")
    parser.add_argument("--step", nargs=3, metavar=("STEP", "FAMILY", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.step:
        step, family, folder = arguments.step
        print(json.dumps(asdict(take_here(step, family, Path(folder)))))
        return
    families = tuple(arguments.families.split(","))
    measured = {}
    for family in families:
        measured[family] = measure(family)
        merge_figures(arguments.out, figures(family, measured[family], _command(family)))
        print(f"{family} measured", file=sys.stderr)
    print(render(measured))


if __name__ == "__main__":
    main()
