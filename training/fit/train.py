"""Trains a pair's generator, and the pair itself where the recipe says so: `python -m training.fit.train RECIPE`.

One code path on a CPU, one GPU, or several under torchrun:

    python -m training.fit.train nano --data DIR
    torchrun --nproc-per-node 8 -m training.fit.train tinyllama-llama3-8b --data DIR

A second call resumes from the checkpoints under `--runs`. A base GGUF for devices is made from the result by
`loragen-edge convert`, since training does not know the device.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from cloud_service.generator import LoraGenerator
from cloud_service.generator.checkpoint import store_generator
from cloud_service.generator.edge import edge_shape
from training.data.families import load_mixture
from training.fit.config import Recipe, RecipeError, load_recipe, recipe_names
from training.fit.generator import EdgeAnswers, EpisodeBatches, train_generator
from training.fit.nano import make_pair
from training.fit.pair import load_pair, store_model
from training.fit.processes import Processes


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a recipe from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.fit.train", description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help=f"{', '.join(recipe_names())}, or a .toml file of the same form")
    parser.add_argument("--data", type=Path, required=True, help="folder of packed public data (docs/training.md)")
    parser.add_argument(
        "--out", type=Path, help="where the result goes (models/RECIPE; with --tiny, build/RECIPE-tiny)"
    )
    parser.add_argument(
        "--runs", type=Path, help="checkpoints; a second call resumes (runs/RECIPE; with --tiny, runs/RECIPE-tiny)"
    )
    parser.add_argument("--tiny", action="store_true", help="toy size, to see that everything runs")
    arguments = parser.parse_args(argv)
    try:
        recipe = load_recipe(arguments.recipe, arguments.tiny)
    except RecipeError as e:
        parser.error(str(e))
    name = Path(arguments.recipe).stem
    out, runs = Path("models") / name, Path("runs") / name
    if arguments.tiny:  # never in the place of the real pair
        out, runs = Path("build") / f"{name}-tiny", Path("runs") / f"{name}-tiny"
    train_pair(recipe, arguments.data, arguments.out or out, arguments.runs or runs)


def train_pair(recipe: Recipe, data: Path, out: Path, runs: Path) -> None:
    """Trains whatever is not yet finished under `runs`, and writes what was trained to `out`.

    Under `out` come `generator/`, and `cloud/` and `edge/` where they were trained.
    """
    processes = Processes()
    mixture = load_mixture(data)
    if recipe.scratch is not None:
        pair = make_pair(recipe.scratch, recipe, mixture, data, out, runs, processes)
    elif recipe.load is not None:
        pair = load_pair(recipe.load, recipe, processes)
    torch.manual_seed(recipe.fit.seed)  # the same first weights in every process
    generator = LoraGenerator(recipe.generator, pair.cloud, edge_shape(pair.edge.config)).to(processes.device)
    if recipe.fit.train_cloud:
        pair.cloud.to(processes.device)
    else:
        processes.shard(pair.cloud)
    edge = EdgeAnswers(
        pair.edge.to(processes.device),
        pair.edge_tokenizer,
        recipe.fit.longest_turn,
        dtype=recipe.fit.dtype_on(processes.device),
    )
    origin = f"{pair.edge_reference.digest} {pair.cloud_reference.digest if pair.cloud_reference else 'trained'}"
    stages = {"generator": recipe.fit} | {f"refined-{n}": stage for n, stage in enumerate(recipe.refine, 1)}
    for folder, settings in stages.items():
        batches = EpisodeBatches(load_mixture(data, settings.tools), pair.cloud_tokenizer, settings)
        train_generator(
            generator, pair.cloud, edge, batches, settings, runs / folder, processes=processes, origin=origin
        )
    cloud_reference = pair.cloud_reference or store_model(
        pair.cloud, pair.cloud_tokenizer, out / "cloud", f"{recipe.generator.id}-cloud", processes
    )
    if processes.is_main:
        store_generator(out / "generator", generator, cloud_reference, pair.edge_reference)
    processes.wait()


if __name__ == "__main__":
    main()
