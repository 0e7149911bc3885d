"""The commands `loragen train` and `loragen evaluate`, which `cloud_service.cli` finds through their entry points.

Only spells the options; each command is a `main(argv)` elsewhere, and torch is imported when one of them runs.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_RECIPES = ", ".join(sorted(path.stem for path in (Path(__file__).parent / "recipes").glob("*.toml")))
_Data = Annotated[Path, typer.Option("--data", help="Folder of packed public data (training/corpus.py).")]


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
    from training import train as training

    training.main([recipe, *_options(data=data, out=out, runs=runs), *["--tiny"] * tiny])


def evaluate(
    data: _Data,
    pair: Annotated[Path, typer.Option(help="Folder with generator/, edge/, and cloud/ if it has one.")] = Path(
        "models/nano"
    ),
    cloud: Annotated[
        str | None, typer.Option(help="Cloud model, where it is not the one that the pair has or names.")
    ] = None,
    edge: Annotated[str | None, typer.Option(help="Edge model, where it is not in the pair's folder.")] = None,
    out: Annotated[Path, typer.Option(help="Where the scores go, as JSON.")] = Path("build/eval.json"),
    results: Annotated[
        Path | None, typer.Option(help="Folder of table and plot: build/results; a full run on test, docs/results.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where oracles are kept.")] = Path("runs/evaluation"),
    split: Annotated[EvaluationSplit, typer.Option(help="Which tasks and inputs.")] = EvaluationSplit.test,
    quantization: Annotated[str, typer.Option(help="Of the served models.")] = "Q4_K",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    served: Annotated[bool, typer.Option(help="Also run a sample of tasks through both services.")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer and shorter of everything.")] = False,
) -> None:
    """Score a trained pair with its controls: base, prompted, oracle, right, another task's description, gibberish."""
    from training import evaluate as evaluation

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
    evaluation.main([*options, *["--no-served"] * (not served), *["--quick"] * quick])


def _options(**values: Path | str | None) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items() if value is not None]
