"""Values: a training config, everything that decides what a training run gives, read from a TOML file.

The files under `training/configs/` are one for each pair that this project trains. A file may name another as its
`base` and then says only what differs; its table `tiny` says what differs in a run at toy size (`--tiny`). A key that
is not known stops the run before it starts.
"""

import itertools
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from cloud_service.generator import CheckpointError, GeneratorConfig
from training.fit.call_experts import CallSettings
from training.fit.choice_head import ChoiceHeadSettings
from training.fit.generator import GeneratorSettings
from training.fit.label_experts import LabelSettings

CONFIGS = Path(__file__).parents[1] / "configs"


class TrainingConfigError(ValueError):
    """A training config that does not exist or says something that is not understood."""


@dataclass(frozen=True, slots=True)
class LoadedModels:
    """Both models, as somebody published them: each a hub id, a folder, or `package:` and an installed package."""

    cloud: str
    edge: str


@with_config(ConfigDict(extra="forbid", strict=True))  # the tables within have no config of their own, and follow it
@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """What a run makes: a generator for two models.

    Attributes:
        load: The two models.
        generator: Shape of the generator.
        fit: How the generator is trained.
        choice: How the generator's choice head is fitted, where it has one.
        calls: How the generator's call experts are trained, where it has some.
        labels: How the generator's label experts are trained, where it has some.
        refine: Stages in which it is trained on from there, each with a new optimizer and on other draws; in the file,
            a stage says only what differs from the one before it.
    """

    load: LoadedModels
    generator: GeneratorConfig
    fit: GeneratorSettings
    choice: ChoiceHeadSettings = field(default_factory=ChoiceHeadSettings)
    calls: CallSettings = field(default_factory=CallSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    refine: tuple[GeneratorSettings, ...] = ()


def config_names() -> list[str]:
    """The training configs that this project ships."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))


def load_config(name: str | Path, tiny: bool = False) -> TrainingConfig:
    """Reads a training config.

    Args:
        name: Of a shipped one, or path of a `.toml` file.
        tiny: At toy size.

    Raises:
        TrainingConfigError: There is no such file, it is not TOML, or a key or value is not one that a config has.
    """
    tables = _read_tables(_find(name))
    toy = tables.pop("tiny", {})
    tables = _with_whole_stages(_merged(tables, toy) if tiny else tables)
    try:
        # By way of JSON, so that strict types still take a list for a tuple.
        return TypeAdapter(TrainingConfig).validate_json(json.dumps(tables, default=str))
    except ValidationError as e:
        problems = "; ".join(_described(error) for error in e.errors(include_url=False))
        raise TrainingConfigError(f"training config {name}: {problems}") from e
    except CheckpointError as e:
        raise TrainingConfigError(f"training config {name}: generator: {e}") from e


def _find(name: str | Path) -> Path:
    path = Path(name) if str(name).endswith(".toml") else CONFIGS / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(config_names())
        raise TrainingConfigError(f"there is no training config {name}, expected a .toml file or one of {known}")
    return path


def _read_tables(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:  # malformed TOML, or not UTF-8
        raise TrainingConfigError(f"training config {path}: {e}") from e
    base = tables.pop("base", None)
    return tables if base is None else _merged(_read_tables(_find(base)), tables)


def _with_whole_stages(tables: dict[str, Any]) -> dict[str, Any]:
    refine = tables.get("refine")
    stages = [tables.get("fit"), *refine] if isinstance(refine, list) else []
    if not stages or not all(isinstance(stage, dict) for stage in stages):
        return tables  # parsing says what is wrong
    return {**tables, "refine": list(itertools.accumulate(stages, _merged))[1:]}


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key, everything else is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merged(base[key], value) if both else value
    return merged


def _described(error: Mapping[str, Any]) -> str:
    """`fit.tasks is 'many': Input should be a valid integer`."""
    place = ".".join(map(str, error["loc"]))
    if error["type"] == "unexpected_keyword_argument":
        return f"{place} is not known"
    # Of a missing key and of a whole table, the input says nothing.
    found = "" if error["type"] == "missing" or isinstance(error["input"], dict) else f" is {error['input']!r}"
    return f"{place}{found}: {error['msg']}" if place else str(error["msg"])
