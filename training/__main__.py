"""The command line of training, run from a checkout: `python -m training COMMAND`.

Only spells the options and hands them on, typed. What a command does is a function elsewhere, imported when it runs,
because torch takes seconds to load.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from loragen.default_pair import DEFAULT_PAIR

app = typer.Typer(
    name="python -m training",
    help="Train, calibrate and measure pairs of a generator and its two models, from public data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_CONFIGS = ", ".join(sorted(path.stem for path in (Path(__file__).parent / "configs").glob("*.toml")))
_RESULTS = Path("docs/results")

_Data = Annotated[Path, typer.Option("--data", help="Folder of packed public data (docs/training.md).")]
_Pair = Annotated[Path, typer.Option(help="Folder with generator/, edge/, and cloud/ if it has one.")]
_Cloud = Annotated[str | None, typer.Option(help="Cloud model, where it is not the one that the pair has or names.")]
_Edge = Annotated[str | None, typer.Option(help="Edge model, likewise.")]
_Device = Annotated[str, typer.Option(help="cpu, cuda, ...")]


class ScoredSplit(StrEnum):
    """What may be scored: validation to choose settings, test to report."""

    validation = "validation"
    test = "test"


@app.command()
def train(
    config: Annotated[str, typer.Argument(help=f"{_CONFIGS}, or a .toml file of the same form.")],
    data: _Data,
    out: Annotated[
        Path | None, typer.Option(help="Where the result goes: models/CONFIG; tiny, build/CONFIG-tiny.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Checkpoints; a second call resumes: runs/CONFIG; tiny, runs/CONFIG-tiny.")
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(exists=True, help="Folder of a generator whose weights the run goes on from, as PAIR/generator."),
    ] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="Toy size, to see that everything runs.")] = False,
) -> None:
    """Train a generator, and its cloud model where the config says so. Under torchrun, in several processes."""
    from training.fit.config import TrainingConfigError, load_config
    from training.fit.start import StartError
    from training.fit.train import train_pair

    try:
        loaded = load_config(config, tiny)
    except TrainingConfigError as e:
        raise typer.BadParameter(str(e)) from e
    name = f"{Path(config).stem}-tiny" if tiny else Path(config).stem
    # A toy pair never goes to the place of the real one.
    folders = out or Path("build" if tiny else "models") / name, runs or Path("runs") / name
    try:
        train_pair(loaded, data, *folders, start)
    except StartError as e:
        raise typer.BadParameter(str(e), param_hint="--start") from e


@app.command()
def calibrate(
    data: _Data,
    pair: _Pair = DEFAULT_PAIR.folder,
    cloud: _Cloud = None,
    edge: _Edge = None,
    device: _Device = "cpu",
    config: Annotated[str, typer.Option(help="The training config whose families are drawn.")] = "smollm2",
    out: Annotated[Path, typer.Option(help="Where the report goes, as JSON.")] = Path("build/confidence.json"),
    report: Annotated[
        Path | None, typer.Option(help="Where it goes as tables; docs/results/confidence.md for the shipped pair.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where observations stay; a second call adds what is missing.")] = Path(
        "runs/calibration"
    ),
    descriptions: Annotated[int, typer.Option(min=5, help="Open tasks to fit on; 2/5 of it to test.")] = 240,
    sets: Annotated[int, typer.Option(min=5, help="Closed sets, likewise.")] = 300,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report, and leave the checkpoint as it is.")] = False,
) -> None:
    """Calibrate a generator's confidence on observed gains. Its digest changes, what it generates does not."""
    from dataclasses import asdict

    from training.fit.calibrate import CalibrationRun, calibrate_pair
    from training.fit.calibration_report import markdown
    from training.fit.config import TrainingConfigError, load_config
    from training.fit.trained_pair import pair_at

    try:
        families = load_config(config).fit.families
    except TrainingConfigError as e:
        raise typer.BadParameter(str(e)) from e
    run = CalibrationRun(pair_at(pair, cloud, edge), data, families, descriptions, sets, runs, device)
    found = calibrate_pair(run, store=not dry_run)
    texts = {out: json.dumps(asdict(found), indent=2) + "\n"} | ({report: markdown(found)} if report else {})
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    print(texts[out], end="")


@app.command()
def evaluate(
    data: _Data,
    pair: _Pair = DEFAULT_PAIR.folder,
    cloud: _Cloud = None,
    edge: _Edge = None,
    out: Annotated[Path, typer.Option(help="Where the scores go, as JSON.")] = Path("build/eval.json"),
    results: Annotated[
        Path | None,
        typer.Option(help="Folder of the tables: build/results; of the shipped pair on all suites, docs/results."),
    ] = None,
    runs: Annotated[
        Path, typer.Option(help="Where answers and oracles stay; a second call adds what is missing.")
    ] = Path("runs/evaluation"),
    split: Annotated[ScoredSplit, typer.Option(help="Which tasks and inputs.")] = ScoredSplit.test,
    suites: Annotated[list[str] | None, typer.Option(help="Score these alone; may be given several times.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Stop asking after so long, and report; 0 for all tasks.", show_default="25"),
    ] = None,
    oracles: Annotated[int, typer.Option(min=0, help="Tasks of each suite that get an oracle; minutes each.")] = 0,
    larger: Annotated[
        Path | None, typer.Option(exists=True, help="GGUF of a larger model, prompted on a sample of the tasks.")
    ] = None,
) -> None:
    """Score a trained pair with its controls, through both services."""
    from training.evaluation.evaluate import MINUTES, Evaluation, evaluate_pair
    from training.evaluation.report import write_report
    from training.evaluation.suites import SUITES
    from training.fit.trained_pair import pair_at

    if unknown := set(suites or ()) - set(SUITES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: expected some of {', '.join(SUITES)}")
    evaluation = Evaluation(
        pair_at(pair, cloud, edge),
        data,
        split.value,
        suites or SUITES,
        MINUTES if minutes is None else minutes,
        oracles,
        larger,
        runs,
    )
    options = (pair, cloud, edge, split, suites, minutes or None)
    published = options == (DEFAULT_PAIR.folder, None, None, ScoredSplit.test, None, None)
    report, failure = evaluate_pair(evaluation)
    print(write_report(report, out, results or (_RESULTS if published else Path("build/results"))))
    if failure is not None:
        raise SystemExit(f"the evaluation ended early, a second call goes on: {failure}")


@app.command()
def bfcl(
    data: Annotated[Path, typer.Option("--data", exists=True, help="BFCL's folder bfcl_eval/data; it is not ours.")],
    pair: _Pair = DEFAULT_PAIR.folder,
    sample: Annotated[int, typer.Option(min=1, help="Questions of each category.")] = 20,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the table goes.")] = Path("build/bfcl.md"),
) -> None:
    """Score a trained pair on the Berkeley Function Calling Leaderboard, v4, through both services."""
    from training.evaluation.bfcl import evaluate_bfcl
    from training.fit.trained_pair import pair_at

    table = evaluate_bfcl(pair_at(pair), data, sample, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(table)
    print(table, end="")


@app.command()
def refine_curve(
    data: _Data,
    pair: _Pair = DEFAULT_PAIR.folder,
    suites: Annotated[list[str] | None, typer.Option(help="These; may be given several times.")] = None,
    counts: Annotated[str, typer.Option(help="Numbers of examples, with commas between them.")] = "4,16,64,256",
    steps: Annotated[str, typer.Option(help="Steps for open tasks, likewise.")] = "10,30",
    tasks: Annotated[int, typer.Option(min=1, help="Of each suite.")] = 3,
    inputs: Annotated[int, typer.Option(min=1, help="Of each task that are scored.")] = 24,
    prompted: Annotated[int, typer.Option(min=0, help="Most examples that are put into a prompt, too.")] = 16,
    minutes: Annotated[float, typer.Option(min=0, help="Begin nothing new after so long.")] = 10.0,
    runs: Annotated[Path, typer.Option(help="Results; a second call adds what is missing.")] = Path("runs/refine"),
    split: Annotated[ScoredSplit, typer.Option(help="Which tasks and inputs.")] = ScoredSplit.validation,
    oracles: Annotated[bool, typer.Option("--oracles", help="An oracle for each task; takes minutes each.")] = False,
) -> None:
    """Measure refinement, by the number of examples and of steps; prints a table."""
    from training.evaluation.refine_curve import Curve, curve_table, measure_curve
    from training.evaluation.suites import SUITES
    from training.evaluation.suites.tasks import SuiteSizes
    from training.fit.trained_pair import pair_at

    if unknown := set(suites or ()) - set(SUITES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: expected some of {', '.join(SUITES)}")
    try:
        numbers, limits = ([int(each) for each in text.split(",")] for text in (counts, steps))
    except ValueError as e:
        raise typer.BadParameter(f"expected numbers with commas between them: {e}") from e
    names, sizes = suites or ["tools-unseen", "tasks-seen", "tasks-unseen"], SuiteSizes(tasks, inputs)
    curve = Curve(pair_at(pair), data, names, sizes, numbers, limits, prompted, runs, minutes, split.value, oracles)
    print(curve_table(measure_curve(curve)), end="")


@app.command()
def ablate(
    data: _Data,
    pair: _Pair = DEFAULT_PAIR.folder,
    runs: Annotated[Path, typer.Option(help="Results; a second call runs what is missing.")] = Path("runs/ablations"),
    only: Annotated[list[str] | None, typer.Option(help="This variant; may be given several times.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Of each run.", show_default="60")] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Runs of each variant.")] = 3,
    episodes: Annotated[int, typer.Option(min=2, help="Of validation.")] = 48,
    table: Annotated[bool, typer.Option("--table", help="Print the table of what is finished, and leave.")] = False,
) -> None:
    """Repeat the paper's ablations on a trained pair, in equal short runs."""
    from dataclasses import replace

    from training.ablation.runs import SETTINGS, Ablation
    from training.ablation.table import render_table
    from training.ablation.variants import VARIANTS
    from training.fit.trained_pair import pair_at

    names = [variant.name for variant in VARIANTS]
    if unknown := set(only or ()) - set(names):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: expected some of {', '.join(names)}")
    ablation = Ablation(pair_at(pair), data, runs, replace(SETTINGS, steps=steps or SETTINGS.steps), episodes)
    if not table:
        ablation.run_missing([variant for variant in VARIANTS if only is None or variant.name in only], seeds)
    print(render_table(ablation.finished()))


if __name__ == "__main__":
    app()
