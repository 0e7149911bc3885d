"""The commands `loragen train`, `calibrate` and `evaluate`, which `cloud_service.cli` finds through their entry points.

Only spells the options; each command is a `main(argv)` elsewhere, and torch is imported when one of them runs.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_RECIPES = ", ".join(sorted(path.stem for path in (Path(__file__).parent / "configs").glob("*.toml")))
_Data = Annotated[Path, typer.Option("--data", help="Folder of packed public data (docs/training.md).")]

_Pair = Annotated[Path, typer.Option(help="Folder with generator/, edge/, and cloud/ if it has one.")]
_Cloud = Annotated[str | None, typer.Option(help="Cloud model, where it is not the one that the pair has or names.")]
_Edge = Annotated[str | None, typer.Option(help="Edge model, where it is not in the pair's folder.")]
_Device = Annotated[str, typer.Option(help="cpu, cuda, ...")]
_NANO = Path("models/nano")


class EvaluationSplit(StrEnum):
    """What may be scored: validation to choose settings, test to report."""

    validation = "validation"
    test = "test"


def train(
    recipe: Annotated[str, typer.Argument(help=f"{_RECIPES}, or a .toml file of the same form.")],
    data: _Data,
    out: Annotated[
        Path | None, typer.Option(help="Where the result goes: models/RECIPE; tiny, build/RECIPE-tiny.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Checkpoints; a second call resumes: runs/RECIPE; tiny, runs/RECIPE-tiny.")
    ] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="Toy size, to see that everything runs.")] = False,
) -> None:
    """Train a generator, and its pair of models where the recipe says so, from public data."""
    from training.fit import train as training

    training.main([recipe, *_options(data=data, out=out, runs=runs), *["--tiny"] * tiny])


def calibrate(
    data: _Data,
    pair: _Pair = _NANO,
    cloud: _Cloud = None,
    edge: _Edge = None,
    device: _Device = "cpu",
    out: Annotated[Path, typer.Option(help="Where the report goes, as JSON.")] = Path("build/confidence.json"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report, and leave the checkpoint as it is.")] = False,
) -> None:
    """Calibrate what a generator says of its confidence; its digest changes, what it generates does not."""
    from training.fit import calibrate as calibration

    options = _options(data=data, pair=pair, cloud=cloud, edge=edge, device=device, out=out)
    calibration.main([*options, *["--dry-run"] * dry_run])


def evaluate(
    data: _Data,
    pair: _Pair = _NANO,
    cloud: _Cloud = None,
    edge: _Edge = None,
    out: Annotated[Path, typer.Option(help="Where the scores go, as JSON.")] = Path("build/eval.json"),
    results: Annotated[
        Path | None, typer.Option(help="Folder of table and plot: build/results; a full run on test, docs/results.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where oracles are kept.")] = Path("runs/evaluation"),
    split: Annotated[EvaluationSplit, typer.Option(help="Which tasks and inputs.")] = EvaluationSplit.test,
    suites: Annotated[list[str] | None, typer.Option(help="Score these alone; may be given several times.")] = None,
    quantization: Annotated[str, typer.Option(help="Of the served models.")] = "Q4_K",
    device: _Device = "cpu",
    served: Annotated[bool, typer.Option(help="Also run a sample of tasks through both services.")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter of everything.")] = False,
) -> None:
    """Score a trained pair with its controls: base, prompted, oracle, right, another task's description, gibberish."""
    from training.evaluation import evaluate as evaluation

    options = _options(
        data=data,
        pair=pair,
        cloud=cloud,
        edge=edge,
        out=out,
        results=results,
        runs=runs,
        split=split.value,
        quantization=quantization,
        device=device,
    )
    chosen = ["--suites", *suites] if suites else []
    evaluation.main([*options, *chosen, *["--no-served"] * (not served), *["--quick"] * quick])


def _options(**values: Path | str | None) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items() if value is not None]
