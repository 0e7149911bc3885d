"""How long an answer takes at TinyLlama-1.1B shapes: a prompted base model against a specialized one.

Prompted: the base model reads five examples (250 tokens, the same in every request) and the input (50 tokens).
Specialized: the model with a LoRA merged into it reads the input alone. Both give 32 tokens, greedily, on the device's
own engine (`edge_runtime.serving`, its default threads; without HTTP) from files that the device's own merge wrote. The
weights are random: time depends on shapes, not on what the numbers are.

Three ways take turns within each round on the same input, so that whatever else the machine does hits all alike:
specialized, prompted without prefix caching, and prompted with it, where the five examples are already in the context
from the request before: its best case, one task that has the slot to itself. The first round warms up. Figures are
medians over rounds:
- `first_token_*`, `answer_*`: the specialized time; baseline: prompted without caching. `*_cached`: baseline with it.
- `*_speedup`: prompted without caching / specialized; baseline and target: the paper's 2.1 (44.5 ms / 21.2 ms).

    python -m benchmarks.answer_latency [--rounds 5] [--types Q4_0,Q4_K]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.errors import BenchmarkError
from benchmarks.figures import FACTOR, Figure, Figures, print_figures
from benchmarks.tinyllama import BUILD, TINYLLAMA, ModelShape, ensure_base, make_bundle
from edge_runtime.config import EdgeSettings
from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge import merge, quantize_base
from edge_runtime.serving.completion import CompletionRequest, TokenPrompt, complete_alone
from edge_runtime.serving.engine import GREEDY, Engine
from edge_runtime.serving.events import Finished, Started, TextPiece
from edge_runtime.serving.llama import LlamaLoader

ROUNDS = 5
TYPES = ("Q4_0", "Q4_K")
EXAMPLE_TOKENS = 250
INPUT_TOKENS = 50
ANSWER_TOKENS = 32
CONTEXT_TOKENS = 512
PAPER_SPEEDUP = 2.1

_CHUNK = 32
"""An engine keeps a prompt of this length in whole chunks of so many tokens."""

_FIRST_WORD = 259
"""Lower tokens of the random vocabulary are control and byte tokens."""


@dataclass(frozen=True, slots=True)
class TimedAnswer:
    """One answer.

    Attributes:
        first_ms: From the request to its first text.
        full_ms: From the request to its end.
        cached_tokens: Prompt tokens that were in the context already.
        tokens: Length of the answer.
    """

    first_ms: float
    full_ms: float
    cached_tokens: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Round:
    """The same input, three ways."""

    specialized: TimedAnswer
    prompted: TimedAnswer
    prompted_cached: TimedAnswer


_Way = Callable[[Round], TimedAnswer]


def run(rounds: int = ROUNDS, types: Sequence[str] = TYPES, shape: ModelShape = TINYLLAMA, threads: int = 0) -> Figures:
    """Measure each quantization.

    Args:
        rounds: Rounds that count.
        types: Quantization types.
        shape: Shapes of the model; others than TinyLlama's only to try the script out.
        threads: Threads of an engine; 0 for as many as a device takes.

    Raises:
        BenchmarkError: The models do not behave as they must for the figures to mean anything.
    """
    command = f"python -m benchmarks.answer_latency --rounds {rounds} --types {','.join(types)}"
    figures: dict[str, Figure] = {}
    for type_name in types:
        figures |= _figures(type_name.lower(), measure(rounds, type_name, shape, threads), command)
    return figures


def measure(rounds: int, type_name: str, shape: ModelShape, threads: int) -> list[Round]:
    """Make the two models of a type, and let them answer.

    Raises:
        BenchmarkError: Answers keep ending early, or a prefix is not cached where it must be.
    """
    base_gguf = ensure_base(shape)
    device_threads = EdgeSettings(threads=threads).effective_threads
    with tempfile.TemporaryDirectory(prefix="answer-latency-", dir=BUILD) as directory, ExitStack() as stack:
        base, merged = Path(directory, "base.gguf"), Path(directory, "merged.gguf")
        cache = Path(directory, "cache")
        quantize_base(base_gguf, base, Quantization(type_name), cache)
        merge(base_gguf, make_bundle(shape), merged, Quantization(type_name), cache)

        def engine(model: Path, *, prefix_cache: bool) -> Engine:
            loader = LlamaLoader(CONTEXT_TOKENS, device_threads, prefix_cache=prefix_cache)
            return stack.enter_context(closing(loader.load(model, None)))

        engines = (
            engine(merged, prefix_cache=True),
            engine(base, prefix_cache=False),
            engine(base, prefix_cache=True),
        )
        return _take_turns(engines, rounds, shape.vocabulary)


def _take_turns(engines: tuple[Engine, Engine, Engine], rounds: int, vocabulary: int) -> list[Round]:
    specialized, prompted, prompted_cached = engines
    rng = np.random.default_rng(2)

    def draw(count: int) -> tuple[int, ...]:
        return tuple(int(token) for token in rng.integers(_FIRST_WORD, vocabulary, count))

    examples = draw(EXAMPLE_TOKENS)
    measured: list[Round] = []
    # A random model may end an answer at any token; such a round compares unequal work and is drawn again.
    for number in range(2 * rounds + 1):
        question = draw(INPUT_TOKENS)
        one = Round(
            _answer(specialized, question),
            _answer(prompted, examples + question),
            _answer(prompted_cached, examples + question),
        )
        if number > 0:
            _verify_cached(one)
            if {one.specialized.tokens, one.prompted.tokens, one.prompted_cached.tokens} == {ANSWER_TOKENS}:
                measured.append(one)
        if len(measured) == rounds:
            return measured
    raise BenchmarkError(f"expected {rounds} rounds of answers with {ANSWER_TOKENS} tokens, found {len(measured)}")


def _answer(engine: Engine, prompt: tuple[int, ...]) -> TimedAnswer:
    request = CompletionRequest(TokenPrompt(prompt), GREEDY, ANSWER_TOKENS)
    first_ms: float | None = None
    cached_tokens = tokens = 0
    started = time.perf_counter()
    for event in complete_alone(engine, request):
        match event:
            case Started(cached_tokens=cached_tokens):
                pass
            case TextPiece():
                first_ms = first_ms or (time.perf_counter() - started) * 1000
            case Finished(completion_tokens=tokens):
                pass
    full_ms = (time.perf_counter() - started) * 1000
    return TimedAnswer(first_ms or full_ms, full_ms, cached_tokens, tokens)


def _verify_cached(one: Round) -> None:
    found = (one.specialized.cached_tokens, one.prompted.cached_tokens, one.prompted_cached.cached_tokens)
    # Two random inputs may happen to begin with the same token. Only whole chunks of a prompt are used again.
    if found[0] > 2 or found[1] != 0 or not EXAMPLE_TOKENS - _CHUNK < found[2] <= EXAMPLE_TOKENS + 2:
        raise BenchmarkError(f"expected about (0, 0, {EXAMPLE_TOKENS}) prompt tokens from the cache, found {found}")


def _figures(label: str, rounds: Sequence[Round], command: str) -> dict[str, Figure]:
    def first(way: _Way) -> float:
        return statistics.median(way(one).first_ms for one in rounds)

    def full(way: _Way) -> float:
        return statistics.median(way(one).full_ms for one in rounds)

    figures: dict[str, Figure] = {}
    for kind, median in (("first_token", first), ("answer", full)):
        specialized = median(lambda one: one.specialized)
        prompted, cached = median(lambda one: one.prompted), median(lambda one: one.prompted_cached)
        name = f"{kind}_{label}"
        figures[name] = Figure.of(specialized, "ms", command, baseline=prompted)
        figures[f"{name}_cached"] = Figure.of(specialized, "ms", command, baseline=cached)
        figures[f"{name}_speedup"] = Figure.of(
            prompted / specialized, FACTOR, command, baseline=PAPER_SPEEDUP, target=PAPER_SPEEDUP
        )
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--types", default=",".join(TYPES))
    arguments = parser.parse_args(argv)
    figures = run(arguments.rounds, tuple(arguments.types.split(",")))
    print_figures(figures)


if __name__ == "__main__":
    main()
