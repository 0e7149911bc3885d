"""Training configs: the shipped ones hold what they claim, and a mistake in a file stops the run with its place."""

import dataclasses
from pathlib import Path

import pytest

from cloud_service.generator.checkpoint import read_manifest
from loragen.default_pair import DEFAULT_PAIR
from training.fit.config import LoadedModels, TrainingConfigError, config_names, load_config

PAPER = ("gemma2-llama3-8b", "qwen-llama3-8b", "tinyllama-llama3-8b")


def written(directory: Path, text: str) -> Path:
    path = directory / "mine.toml"
    path.write_text(text)
    return path


def test_every_pair_that_is_spoken_of_has_a_config() -> None:
    assert config_names() == sorted(["smollm2", *PAPER])
    for name in config_names():
        assert load_config(name).fit.steps > load_config(name, tiny=True).fit.steps == 3


@pytest.mark.parametrize("name", PAPER)
def test_configs_of_the_paper_have_its_settings(name: str) -> None:
    config = load_config(name)
    assert config.load.cloud == "meta-llama/Meta-Llama-3-8B"
    shape, fit = config.generator, config.fit
    assert (shape.id, shape.gating, shape.experts, shape.top_k, shape.groups) == (name, "topk_softmax", 8, 2, 1)
    assert (shape.rank, shape.alpha, shape.norm, shape.mix, shape.adapter_rank) == (16, 16.0, "batch", "parameters", 16)
    assert (fit.cloud_learning_rate, fit.warmup, fit.weight_decay, fit.tasks * fit.inputs) == (2e-5, 50, 0.1, 64)
    assert (fit.balance_weight, fit.lora_dropout, fit.longest_prompt, fit.train_cloud) == (0.01, 0.05, 2048, False)


def test_default_pair_is_the_one_of_its_config(root: Path) -> None:
    """But for the codes, which training looks up in the edge model's tokenizer."""
    shipped, config = read_manifest(root / DEFAULT_PAIR.generator), load_config(DEFAULT_PAIR.folder.name)
    assert dataclasses.replace(shipped.config, codes=()) == config.generator
    assert (DEFAULT_PAIR.cloud_model, DEFAULT_PAIR.edge_model) == (config.load.cloud, config.load.edge)


def test_config_on_a_base_says_only_what_differs() -> None:
    first, second = load_config("tinyllama-llama3-8b"), load_config("qwen-llama3-8b")
    assert second.load == LoadedModels("meta-llama/Meta-Llama-3-8B", "Qwen/Qwen2-1.5B")
    assert second.fit == first.fit


def test_stage_says_only_what_differs_from_the_one_before(tmp_path: Path) -> None:
    assert load_config("tinyllama-llama3-8b").refine == ()
    text = LOADED + "[[refine]]\nsteps = 2\ntools = { foreign = 0.1 }\n[[refine]]\ninputs = 3\n"
    first, second = load_config(written(tmp_path, text)).refine
    assert (first.steps, first.inputs, first.tools.foreign) == (2, 12, 0.1)
    assert (second.steps, second.inputs, second.tools.foreign) == (2, 3, 0.1)
    with pytest.raises(
        TrainingConfigError,
        match=r"refine\.1\.tools\.renamd is not known",
    ):
        load_config(written(tmp_path, text + "tools = { renamd = 0.1 }"))
    with pytest.raises(TrainingConfigError, match=r"refine: Input should be a valid array"):
        load_config(written(tmp_path, LOADED + "[refine]\nsteps = 2"))
    with pytest.raises(TrainingConfigError, match=r"refine\.0 is 3: Input should be an object"):
        load_config(written(tmp_path, "refine = [3]\n" + LOADED))
    with pytest.raises(TrainingConfigError, match="refine is 3: Input should be a valid array"):
        load_config(written(tmp_path, "refine = 3\n" + LOADED))


def test_families_are_weighted_by_name(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, LOADED + "families = { extract = 0.2, tools = 1 }"))
    assert config.fit.families == {"extract": 0.2, "tools": 1.0}
    assert load_config("tinyllama-llama3-8b").fit.families == {}


def test_file_of_ones_own_is_a_config(tmp_path: Path) -> None:
    config = load_config(
        written(tmp_path, 'base = "tinyllama-llama3-8b"\n[load]\nedge = "here"\n[fit]\nlearning_rate = 1')
    )
    assert config.load == LoadedModels("meta-llama/Meta-Llama-3-8B", "here")
    assert config.fit.learning_rate == 1.0
    assert isinstance(config.fit.learning_rate, float)


LOADED = '[load]\ncloud = "c"\nedge = "e"\n[generator]\nid = "g"\n[fit]\nsteps = 1\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LOADED + "stepz = 2", r"fit\.stepz is not known"),
        (LOADED + 'tasks = "many"', r"fit\.tasks is 'many': Input should be a valid integer"),
        (LOADED + "tasks = true", r"fit\.tasks is True: Input should be a valid integer"),
        (LOADED + "families = { extrct = 0.2 }", "fit: .* no family extrct, the nearest name is extract"),
        (LOADED + "families = { extract = -1 }", "fit: .* family extract is -1.0, expected a number of at least 0"),
        (LOADED + 'families = { extract = "x" }', r"fit\.families\.extract is 'x': Input should be a valid number"),
        (LOADED + 'precision = "int8"', r"fit\.precision is 'int8': Input should be 'bfloat16' or 'float32'"),
        (LOADED.replace("steps = 1", ""), r"fit\.steps: Field required"),
        (LOADED.replace('id = "g"', 'id = "g"\nexperts = 1'), "top_k is 2, expected 1 to 1"),
        ("fit = 3\n" + LOADED.replace("[fit]\nsteps = 1\n", ""), "fit is 3: Input should be an object"),
        (LOADED.replace('[load]\ncloud = "c"\nedge = "e"\n', ""), "load: Field required"),
        ('base = "giant"', "there is no training config giant, .* smollm2"),
        ("[fit", "mine.toml: "),
    ],
)
def test_mistake_is_reported_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TrainingConfigError, match=message):
        load_config(written(tmp_path, text))


def test_config_that_is_not_there_is_reported_with_those_that_are() -> None:
    for name in ("giant", "giant.toml"):
        with pytest.raises(TrainingConfigError, match=f"there is no training config {name}, expected .* smollm2"):
            load_config(name)
