"""Evaluates a trained pair with its controls: `python -m training.evaluate --data DIR`.

Writes build/eval.json and a Markdown table. Suites go from near to far; `--split validation` is for choosing settings,
`test` (the default) for reporting. Un-merged, in float32 on the edge model's stored weights; the demo measures the
served product.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import AutoTokenizer

from cloud_service.generator import LoraGenerator
from cloud_service.generator.checkpoint import load_experts, load_parameters, read_manifest
from cloud_service.generator.edge import edge_shape
from cloud_service.generator.inference import load_language_model
from training.corpus import Split
from training.episodes import Family, Mixture
from training.families.classify import Classification, load_data_sets
from training.families.extract import SlotExtraction, load_messages
from training.families.instructions import PublishedInstructions, is_seen, load_described_tasks
from training.families.tools import ToolRouting, is_held_out, load_test_services, load_tools
from training.families.transform import TextTransformation
from training.generator import EdgeAnswers
from training.measure import COLUMNS, Interval, Scores, draw_episodes, score_episodes

DIFFERENCES = (("right", "base"), ("right", "gibberish"), ("right", "another"), ("right", "prompted"))


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the evaluation from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of packed public data (training/corpus.py)")
    parser.add_argument(
        "--pair", type=Path, default=Path("models/nano"), help="folder with cloud/, edge/ and generator/"
    )
    parser.add_argument("--out", type=Path, default=Path("build/eval.json"))
    parser.add_argument("--table", type=Path, help="also write the table as Markdown here")
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--quick", action="store_true", help="a quarter of the episodes")
    arguments = parser.parse_args(argv)
    suites = evaluate_pair(arguments.pair, arguments.data, arguments.split, episodes=16 if arguments.quick else 64)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"split": arguments.split, "suites": suites_document(suites)}, indent=2) + "\n")
    table = markdown_table(suites)
    if arguments.table:
        arguments.table.parent.mkdir(parents=True, exist_ok=True)
        arguments.table.write_text(table)
    print(table)


def evaluate_pair(pair: Path, data: Path, split: Split, episodes: int, inputs: int = 8) -> dict[str, Scores]:
    """Scores by suite, in the order of `load_suites`."""
    manifest = read_manifest(pair / "generator")
    cloud = load_language_model(pair / "cloud", torch.float32)
    edge_model = load_language_model(pair / "edge", torch.float32)
    generator = LoraGenerator(manifest.config, cloud, edge_shape(edge_model.config)).eval()
    load_parameters(pair / "generator", generator)
    load_experts(pair / "generator", generator)
    tokenizer = AutoTokenizer.from_pretrained(pair / "cloud")
    edge_tokenizer = AutoTokenizer.from_pretrained(pair / "edge")
    edge = EdgeAnswers(edge_model, edge_tokenizer, longest=1000, dtype=torch.float32)
    scores = {}
    for suite, family in load_suites(data).items():
        drawn = draw_episodes(family, split, episodes, inputs)
        scores[suite] = score_episodes(drawn, generator, tokenizer, edge)
    return scores


def load_suites(data: Path) -> dict[str, Family]:
    """Suites from near to far; all of them on inputs that training never drew.

    `tasks-paraphrased` asks for known transformations in words that training never met, `tools-seen` routes among known
    tools in sets never met together, `tools-unseen` among tools and services never met, `tasks-unseen` holds published
    tasks never met.
    """
    services = load_test_services(data)
    tools = load_tools(data)
    seen_tools = [tool for tool in tools if not is_held_out(tool, services)]
    tasks = load_described_tasks(data)
    texts: dict[Split, list[str]] = {
        split: [text for tool in seen_tools for text in tool.utterances[split]] for split in ("validation", "test")
    }
    return {
        "tasks-seen": Mixture(
            "tasks-seen",
            (
                Classification(load_data_sets(data)),
                SlotExtraction(load_messages(data)),
                PublishedInstructions([task for task in tasks if is_seen(task)]),
            ),
            (1, 1, 1),
        ),
        "tasks-paraphrased": TextTransformation(texts),
        "tools-seen": ToolRouting(seen_tools),
        "tools-unseen": ToolRouting([tool for tool in tools if is_held_out(tool, services)]),
        "tasks-unseen": PublishedInstructions([task for task in tasks if not is_seen(task)]),
    }


def suites_document(suites: Mapping[str, Scores]) -> dict[str, object]:
    """What build/eval.json holds for each suite."""
    return {
        suite: {
            "tasks": len(set(scores.tasks)),
            "episodes": len(scores.tasks),
            "instances": scores.instances,
            "score": {column: asdict(scores.interval(column)) for column in COLUMNS},
            "difference": {f"{a} - {b}": asdict(scores.interval(a, minus=b)) for a, b in DIFFERENCES},
            "tokens": dict(scores.tokens),
        }
        for suite, scores in suites.items()
    }


def markdown_table(suites: Mapping[str, Scores]) -> str:
    """Exact match in percent with 95 % intervals, one line a suite."""
    head = ("suite", "inputs", *COLUMNS, "right - gibberish", "tokens prompted", "tokens specialized")
    lines = [head, ("---",) * len(head)]
    for suite, scores in suites.items():
        difference = scores.interval("right", minus="gibberish")
        cells = [_percent(scores.interval(column)) for column in COLUMNS]
        tokens = [f"{scores.tokens[column]:.0f}" for column in ("prompted", "specialized")]
        lines.append((suite, str(scores.instances), *cells, _percent(difference), *tokens))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _percent(interval: Interval) -> str:
    return f"{100 * interval.mean:.1f} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


if __name__ == "__main__":
    main()
