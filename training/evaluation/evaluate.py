"""Evaluates a trained pair with its controls: `python -m training evaluate --data DIR`, or `make evaluate`.

Six columns on the same inputs: base, prompted, oracle, right, mismatched, gibberish. Suites go from near to far. The
columns are computed un-merged, in float32 on a CPU; a sample of tasks runs through both services as well
(`training.evaluation.served`). Oracles are trained for some tasks of each suite, and stay under `runs`.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loragen.client import ClientError, LocalStack, ModelPair, RemoteError
from training.data.corpus import Split
from training.evaluation.edge_writer import EdgeWriter
from training.evaluation.measure import Measurement, pick_mismatched
from training.evaluation.report import EvaluationReport, SuiteResult
from training.evaluation.served import ServedScores, score_served
from training.evaluation.suites import SUITES, Suite, SuiteSizes, load_suites
from training.fit.answer_loss import EdgeAnswers
from training.fit.oracle import OracleSettings, fit_oracles
from training.fit.precision import product_dtype
from training.fit.trained_pair import TrainedPair, load_trained_pair

LONGEST_TURN = 1000


@dataclass(frozen=True, slots=True)
class EvaluationSizes:
    """How much an evaluation does.

    Attributes:
        oracles: Tasks of each suite that get an oracle.
        grouped_oracles: The same for suites whose tasks share inputs.
        served: Tasks of each suite that run through the product, too.
    """

    suites: SuiteSizes
    oracles: int
    oracle_steps: int
    grouped_oracles: int
    served: int


FULL = EvaluationSizes(SuiteSizes(), oracles=4, oracle_steps=160, grouped_oracles=16, served=3)
QUICK = EvaluationSizes(
    SuiteSizes(tasks=4, inputs=6, reasoning_inputs=6), oracles=1, oracle_steps=60, grouped_oracles=4, served=1
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What to evaluate, and how.

    Attributes:
        runs: Where oracles stay.
        quantization: Of the served models.
    """

    pair: ModelPair
    data: Path
    split: Split = "test"
    sizes: EvaluationSizes = FULL
    runs: Path = Path("runs/evaluation")
    suites: Sequence[str] = SUITES
    quantization: str = "Q4_K"
    device: str = "cpu"


def evaluate_pair(evaluation: Evaluation) -> tuple[EvaluationReport, ClientError | None]:
    """Everything that an evaluation measures, and why the product's path is not in it, where that fails.

    Raises:
        CheckpointError: The pair cannot be loaded.
        FileNotFoundError: The data lack a file.
    """
    started = time.monotonic()
    sizes = evaluation.sizes
    suites = load_suites(evaluation.data, evaluation.split, sizes.suites, evaluation.suites)
    trained = load_trained_pair(evaluation.pair, evaluation.device)
    measuring = Measuring(trained, sizes, evaluation.runs / "oracles")
    results = [measuring.measure(suite) for suite in suites]
    measured = time.monotonic()
    served: dict[str, list[ServedScores]] = {}
    failure = None
    try:
        if sizes.served:
            served = serve_sample(suites, evaluation)
    except ClientError as error:  # hours of measuring are not lost for it
        failure = error
    manifest = trained.manifest
    about = {
        "pair": f"{manifest.config.id} ({manifest.digest[:12]})",
        "split": evaluation.split,
        "description samples a task": sizes.suites.samples,
        "oracle": f"rank {manifest.config.rank}, {sizes.oracle_steps} steps",
        "served as": "not" if not sizes.served else "failed" if failure else evaluation.quantization,
        "seconds": f"{measured - started:.0f} measured, {time.monotonic() - measured:.0f} served",
    }
    results = [replace(result, served=served.get(result.suite.name, ())) for result in results]
    return EvaluationReport(about, results), failure


class Measuring:
    """Scores suites of one pair, un-merged.

    Args:
        trained: The pair.
        sizes: How much is done.
        directory: Where oracles stay.
    """

    def __init__(self, trained: TrainedPair, sizes: EvaluationSizes, directory: Path) -> None:
        self._sizes, self._directory = sizes, directory
        config = trained.manifest.config
        self._settings = OracleSettings(config.rank, config.alpha, sizes.oracle_steps)
        self._edge_digest = trained.manifest.edge_model.digest
        known = getattr(trained.edge.config.get_text_config(), "max_position_embeddings", LONGEST_TURN)
        longest = min(LONGEST_TURN, known)
        dtype = product_dtype(trained.edge.device)
        self._edge = EdgeAnswers(trained.edge, trained.edge_tokenizer, longest, dtype)
        writer = EdgeWriter(trained.edge, trained.edge_tokenizer, longest)
        self._measurement = Measurement(trained.generator, trained.cloud_tokenizer, writer)

    def measure(self, suite: Suite) -> SuiteResult:
        """Scores every task of a suite; the first ones, of each kind in turn, with an oracle."""
        started = time.monotonic()
        count = self._sizes.grouped_oracles if suite.grouped else 0 if suite.by_likelihood else self._sizes.oracles
        oracles = fit_oracles(self._edge, self._edge_digest, suite.tasks[:count], self._settings, self._directory)
        trained = time.monotonic()
        scores = [
            self._measurement.score(task, pick_mismatched(suite.tasks, n), oracles[n] if n < len(oracles) else None)
            for n, task in enumerate(suite.tasks)
        ]
        print(
            f"{suite.name}: {len(scores)} tasks in {time.monotonic() - trained:.0f} s, "
            f"{len(oracles)} oracles in {trained - started:.0f} s",
            flush=True,
        )
        return SuiteResult(suite, scores)


def serve_sample(suites: Sequence[Suite], evaluation: Evaluation) -> dict[str, list[ServedScores]]:
    """The first tasks of each suite through the product, by suite.

    Raises:
        ClientError: A service does not do its part; the message has the end of its log where it ended.
    """
    state = evaluation.runs / "served"
    shutil.rmtree(state, ignore_errors=True)
    scores: dict[str, list[ServedScores]] = {}
    settings = {"LORAGEN_EDGE_QUANTIZATION": evaluation.quantization}
    with LocalStack(evaluation.pair, state, channel="evaluation", edge_settings=settings) as stack:
        try:
            for suite in (suite for suite in suites if not suite.by_likelihood):
                sample = enumerate(suite.tasks[: evaluation.sizes.served])
                scores[suite.name] = [score_served(stack, task, f"{suite.name}-{number}") for number, task in sample]
        except RemoteError:
            stack.verify_alive()
            raise
    return scores
