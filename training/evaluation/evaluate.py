"""Evaluates a trained pair with its controls: `python -m training.evaluation.evaluate --data DIR`, or `make evaluate`.

Six columns on the same inputs: base, prompted, oracle, right, another, gibberish. Suites go from near to far;
`--split validation` is for choosing settings, `test` (the default) for reporting. Writes build/eval.json, a Markdown
table and a plot. The columns are computed un-merged, in float32 on a CPU; a sample of tasks runs through the product as
well (`training.evaluation.served`). Oracles are trained for some tasks of each suite, all of `conflict`, and stay under
`--runs`.
"""

import argparse
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import AutoTokenizer

from cloud_service.generator import LoraGenerator
from cloud_service.generator.checkpoint import Manifest, load_experts, load_parameters, read_manifest, verify_model
from cloud_service.generator.edge import edge_shape
from cloud_service.generator.inference import load_cloud_model, load_language_model
from loragen.client import ClientError
from training.data.corpus import Split
from training.evaluation.answering import EdgeModel
from training.evaluation.measure import Measurement, TaskScores, pick_another
from training.evaluation.report import Report, SuiteResult, write_report
from training.evaluation.served import PairPaths, ServedScores, serve_pair
from training.evaluation.suites import SUITES, Suite, SuiteSizes, load_suites
from training.evaluation.suites.conflict import chance
from training.fit.oracle import OracleSettings, fit_oracles

SHIPPED = Path("models/nano")
LONGEST_TURN = 1000


@dataclass(frozen=True, slots=True)
class EvaluationSizes:
    """How much an evaluation does.

    Attributes:
        oracles: Tasks of each suite that get an oracle; `conflict` has one for each task but in a quick run.
        served: Tasks of each suite that run through the product, too.
    """

    suites: SuiteSizes
    oracles: int
    oracle_steps: int
    conflict_oracles: int
    served: int


FULL = EvaluationSizes(SuiteSizes(), oracles=4, oracle_steps=160, conflict_oracles=16, served=3)
QUICK = EvaluationSizes(
    SuiteSizes(tasks=4, inputs=6, reasoning_inputs=6), oracles=1, oracle_steps=60, conflict_oracles=4, served=1
)
UNSERVED = ("reasoning",)  # scored by likelihood, which the device does not tell
WITHOUT_ORACLE = ("reasoning",)


@dataclass(frozen=True, slots=True)
class LoadedPair:
    """A pair in memory."""

    measurement: Measurement
    edge: EdgeModel
    manifest: Manifest


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the evaluation from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluation.evaluate", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of packed public data (docs/training.md)")
    parser.add_argument(
        "--pair", type=Path, default=SHIPPED, help="folder with generator/, edge/, and cloud/ if it has one"
    )
    parser.add_argument(
        "--cloud",
        help="folder or hub id of the cloud model, or package:NAME, where it is not the one that the pair has or names",
    )
    parser.add_argument("--edge", help="folder or hub id of the edge model, where it is not in the pair's folder")
    parser.add_argument("--out", type=Path, default=Path("build/eval.json"))
    parser.add_argument(
        "--results",
        type=Path,
        help="folder of the table and the plot (build/results; of the shipped pair, in full and on test, docs/results)",
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/evaluation"), help="where oracles are kept")
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--suites", nargs="+", choices=SUITES, default=list(SUITES))
    parser.add_argument("--quantization", default="Q4_K", help="of the served models")
    parser.add_argument("--no-served", action="store_true", help="leave out the product's path")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter of everything")
    arguments = parser.parse_args(argv)
    sizes = QUICK if arguments.quick else FULL
    if arguments.no_served:
        sizes = replace(sizes, served=0)
    chosen = ("pair", "cloud", "edge", "split", "suites", "quantization", "no_served", "quick")
    whole = all(getattr(arguments, name) == parser.get_default(name) for name in chosen)
    report, failure = evaluate_pair(
        PairPaths.of(arguments.pair, arguments.cloud, arguments.edge),
        arguments.data,
        arguments.split,
        sizes,
        arguments.runs,
        arguments.suites,
        arguments.quantization,
        arguments.device,
    )
    results = arguments.results or Path("docs/results" if whole else "build/results")
    print(write_report(report, arguments.out, results))
    if failure is not None:
        raise SystemExit(f"the product's path failed, --no-served leaves it out: {failure}")


def evaluate_pair(
    pair: PairPaths,
    data: Path,
    split: Split,
    sizes: EvaluationSizes,
    runs: Path,
    names: Sequence[str] = SUITES,
    quantization: str = "Q4_K",
    device: str = "cpu",
) -> tuple[Report, ClientError | None]:
    """Everything that an evaluation measures, and why the product's path is not in it, where that fails.

    Raises:
        CheckpointError: `pair` holds no pair that can be loaded.
        FileNotFoundError: `data` lacks a file.
    """
    started = time.monotonic()
    suites = load_suites(data, split, sizes.suites, names)
    loaded = load_pair(pair, device)
    results = [measure_suite(suite, loaded, sizes, runs / "oracles") for suite in suites]
    measured = time.monotonic()
    served: dict[str, list[ServedScores]] = {}
    failure = None
    try:
        if sizes.served:
            served = serve_sample(suites, pair, runs / "served", sizes.served, quantization)
    except ClientError as error:  # hours of measuring are not lost for it
        failure = error
    results = [replace(result, served=served.get(result.name, ())) for result in results]
    about = {
        "pair": f"{loaded.manifest.config.id} ({loaded.manifest.digest[:12]})",
        "split": split,
        "description samples a task": sizes.suites.samples,
        "oracle": f"rank {loaded.manifest.config.rank}, {sizes.oracle_steps} steps",
        "served as": "not" if not sizes.served else "failed" if failure else quantization,
        "seconds": f"{measured - started:.0f} measured, {time.monotonic() - measured:.0f} served",
    }
    return Report(about, results), failure


def load_pair(pair: PairPaths, device: str = "cpu") -> LoadedPair:
    """Cloud model, generator and edge model; in float32 on a CPU, the models in bfloat16 elsewhere.

    Raises:
        CheckpointError: The files are not those of one pair.
    """
    manifest = read_manifest(pair.generator)
    verify_model("cloud", manifest.cloud_model, pair.cloud)
    verify_model("edge", manifest.edge_model, pair.edge)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    cloud = load_cloud_model(pair.cloud, dtype)
    edge_model = load_language_model(pair.edge, dtype)
    generator = LoraGenerator(manifest.config, cloud, edge_shape(edge_model.config)).eval()
    load_parameters(pair.generator, generator)
    load_experts(pair.generator, generator)
    for module in (cloud, edge_model, generator):
        module.to(torch.device(device))
    longest = min(LONGEST_TURN, getattr(edge_model.config.get_text_config(), "max_position_embeddings", LONGEST_TURN))
    edge = EdgeModel(edge_model, AutoTokenizer.from_pretrained(pair.edge), longest)
    return LoadedPair(Measurement(generator, AutoTokenizer.from_pretrained(pair.cloud), edge), edge, manifest)


def measure_suite(suite: Suite, loaded: LoadedPair, sizes: EvaluationSizes, directory: Path) -> SuiteResult:
    """Scores every task of a suite; the first ones, of each kind in turn, with an oracle."""
    started = time.monotonic()
    count = 0 if suite.name in WITHOUT_ORACLE else sizes.oracles
    if suite.name == "conflict":
        count = sizes.conflict_oracles
    config = loaded.manifest.config
    settings = OracleSettings(config.rank, config.alpha, sizes.oracle_steps)
    oracles = fit_oracles(loaded.edge, loaded.manifest.edge_model.digest, suite.tasks[:count], settings, directory)
    trained = time.monotonic()
    scores: list[TaskScores] = []
    for index, task in enumerate(suite.tasks):
        oracle = oracles[index] if index < len(oracles) else None
        scores.append(loaded.measurement.score(task, pick_another(suite.tasks, index), oracle))
    print(
        f"{suite.name}: {len(scores)} tasks in {time.monotonic() - trained:.0f} s, "
        f"{len(oracles)} oracles in {trained - started:.0f} s",
        flush=True,
    )
    return SuiteResult(
        suite.name,
        scores,
        sum(len(task.instances) * len(task.samples) for task in suite.tasks),
        suite.fixed_tasks,
        suite_chance(suite),
    )


def suite_chance(suite: Suite) -> float | None:
    """What ignoring the description can give: known for tasks on shared inputs and for choices alone."""
    if suite.name == "conflict":
        return chance(suite.tasks)
    if suite.name == "reasoning":
        guesses = [sum(1 / len(c) for c in task.choices) / len(task.choices) for task in suite.tasks]
        return sum(guesses) / len(guesses)
    return None


def serve_sample(
    suites: Sequence[Suite], pair: PairPaths, state: Path, count: int, quantization: str
) -> dict[str, list[ServedScores]]:
    """The first tasks of each suite through the product, by suite."""
    shutil.rmtree(state, ignore_errors=True)
    scores: dict[str, list[ServedScores]] = {}
    with serve_pair(pair, state, quantization) as served:
        for suite in suites:
            if suite.name not in UNSERVED:
                scores[suite.name] = [
                    served.score(task, f"{suite.name}-{number}") for number, task in enumerate(suite.tasks[:count])
                ]
    return scores


if __name__ == "__main__":
    main()
