"""What a grammar costs the default edge model for each token: decoding JSON of a schema against decoding any text.

Both ways write up to 96 tokens behind the same prompt on the device's own engine (its default threads, without HTTP),
greedily and drawn at temperature 1, and take turns within each round; the first round warms up, and compiles the
grammar. The model was never trained to write JSON of this schema, so that the grammar often has to look for another
token than the likeliest: a specialized one pays less. Figures are medians over rounds, and their target is 1.1 times
the baseline, which is any text.

    python -m benchmarks.grammar_cost [--rounds 5]
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from benchmarks.figures import Figure, Figures, print_figures
from edge_runtime.config import EdgeSettings
from edge_runtime.serving.completion import CompletionRequest, TextPrompt, complete_alone
from edge_runtime.serving.engine import GREEDY, Engine, Sampling
from edge_runtime.serving.events import Finished, Started
from edge_runtime.serving.llama import LlamaLoader
from loragen.contract.json_schema import canonical_schema
from loragen.default_pair import DEFAULT_PAIR
from loragen.packages import find_packaged_model

ROUNDS = 5
ANSWER_TOKENS = 96
CONTEXT_TOKENS = 512
MOST_RATIO = 1.1

_PROMPT = "Order two large pizzas to 12 Main Street for Ann Lee, and one for her neighbour, tomorrow at noon."
_TEXT = {"type": "string", "minLength": 40}
_SCHEMA = canonical_schema(
    {
        "type": "object",
        "properties": {
            "size": {"enum": ["small", "medium", "large"]},
            "count": {"type": "integer"},
            "express": {"type": "boolean"},
            "address": _TEXT,
            "notes": {"type": "array", "items": _TEXT, "minItems": 3},
        },
        "required": ["size", "count", "express", "address", "notes"],
    }
)
_WAYS = {"greedy": GREEDY, "drawn": Sampling(temperature=1.0, seed=1)}


def run(rounds: int = ROUNDS) -> Figures:
    """Measure the default edge model.

    Raises:
        FileNotFoundError: Its package is not installed.
    """
    loader = LlamaLoader(CONTEXT_TOKENS, EdgeSettings().effective_threads)
    with closing(loader.load(find_packaged_model(DEFAULT_PAIR.edge_model), None)) as engine:
        return measure(engine, rounds)


def measure(engine: Engine, rounds: int) -> Figures:
    """Milliseconds for each token, and for each token of any text as baseline."""
    figures: dict[str, Figure] = {}
    for name, sampling in _WAYS.items():
        taken = [
            (_token_ms(engine, sampling), _token_ms(engine, replace(sampling, schema=_SCHEMA)))
            for _ in range(rounds + 1)
        ]
        free, constrained = (statistics.median(column) for column in zip(*taken[1:], strict=True))
        figures[f"grammar_{name}_token_ms"] = Figure.of(
            constrained, "ms", "python -m benchmarks.grammar_cost", baseline=free, target=free * MOST_RATIO
        )
    return figures


def _token_ms(engine: Engine, sampling: Sampling) -> float:
    started, count = 0.0, 0
    for event in complete_alone(engine, CompletionRequest(TextPrompt(_PROMPT), sampling, ANSWER_TOKENS)):
        match event:
            case Started():
                started = time.perf_counter()
            case Finished(completion_tokens=count):
                pass
    return 1_000 * (time.perf_counter() - started) / max(count, 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description="Measure what a grammar costs for each token.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    print_figures(run(parser.parse_args(arguments).rounds))


if __name__ == "__main__":
    main()
