"""Values: a recipe, everything that decides what a training run gives, read from a TOML file.

The files under `training/configs/` are one for each pair that this project trains. A file may name another as its
`base` and then says only what differs; its table `tiny` says what differs in a run at toy size (`--tiny`). A key that
is not known stops the run before it starts.
"""

import dataclasses
import itertools
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from cloud_service.generator import CheckpointError, GeneratorConfig
from training.fit.generator import GeneratorSettings
from training.fit.pretrain import LanguageModelSize, PretrainSettings

CONFIGS = Path(__file__).parents[1] / "configs"


class RecipeError(ValueError):
    """A recipe that does not exist or says something that is not understood."""


@dataclass(frozen=True, slots=True)
class GrownModel:
    """A cloud LM grown from the edge LM, whose tokenizer it shares.

    Attributes:
        layers: For each layer of the cloud model, the edge layer it starts from.
        pretrain: Its base training, on from there.
    """

    layers: tuple[int, ...]
    pretrain: PretrainSettings


@dataclass(frozen=True, slots=True)
class ScratchModels:
    """An edge LM trained from scratch by this project's own code, and a cloud model grown from it or loaded.

    Attributes:
        vocabulary: Tokens of the tokenizer.
        context: Longest text, in tokens, that the tokenizer announces.
        tokenizer_episodes, tokenizer_paragraphs: What the tokenizer is trained on.
        paragraphs: Prose for base training.
        cloud: How the cloud model is grown; or the name of one as published, as `LoadedModels` takes it.
        compiled: Compile base training; worth it for more than a few hundred steps.
    """

    vocabulary: int
    context: int
    tokenizer_episodes: int
    tokenizer_paragraphs: int
    paragraphs: int
    edge: LanguageModelSize
    edge_pretrain: PretrainSettings
    cloud: GrownModel | str
    compiled: bool = True


@dataclass(frozen=True, slots=True)
class LoadedModels:
    """Both models, as somebody published them: each a hub id, a folder, or `package:` and an installed package."""

    cloud: str
    edge: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a run makes: two models from one of two sources, and a generator for them.

    Attributes:
        scratch: Set when the edge model is trained from scratch.
        load: Set when both models are loaded.
        generator: Shape of the generator.
        fit: How the generator is trained.
        refine: Stages in which it is trained on from there, each with a new optimizer and on other draws; in the file,
            a stage says only what differs from the one before it.

    Raises:
        RecipeError: The models have no source, or two.
    """

    generator: GeneratorConfig
    fit: GeneratorSettings
    refine: tuple[GeneratorSettings, ...] = ()
    scratch: ScratchModels | None = None
    load: LoadedModels | None = None

    def __post_init__(self) -> None:
        if (self.scratch is None) == (self.load is None):
            raise RecipeError("models come from scratch or are loaded: expected one of [scratch] and [load]")


def recipe_names() -> list[str]:
    """The recipes that this project ships."""
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))


def load_recipe(recipe: str | Path, tiny: bool = False) -> Recipe:
    """Reads a recipe.

    Args:
        recipe: Name of a shipped recipe, or path of a `.toml` file.
        tiny: At toy size.

    Raises:
        RecipeError: There is none, it is not TOML, or a key or value is not one that a recipe has.
    """
    tables = _read_tables(_find(recipe))
    toy = tables.pop("tiny", {})
    tables = _merged(tables, toy) if tiny else tables
    try:
        parsed: Recipe = _parse(Recipe, _with_whole_stages(tables), "")
    except (RecipeError, CheckpointError) as e:
        raise RecipeError(f"recipe {recipe}: {e}") from e
    return parsed


def _find(recipe: str | Path) -> Path:
    path = Path(recipe) if str(recipe).endswith(".toml") else CONFIGS / f"{recipe}.toml"
    if not path.is_file():
        raise RecipeError(f"there is no recipe {recipe}, expected a .toml file or one of {', '.join(recipe_names())}")
    return path


def _read_tables(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:  # malformed TOML, or not UTF-8
        raise RecipeError(f"recipe {path}: {e}") from e
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


def _parse(kind: Any, value: Any, place: str) -> Any:
    """A TOML value as the type that a field has; `place` names it in errors."""
    if isinstance(kind, types.UnionType):  # a table that may be absent (None, which TOML does not have), or be a name
        table, other = get_args(kind)
        kind = other if isinstance(value, str) and other is str else table
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _parse_table(kind, value, place)
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_parse(get_args(kind)[0], each, f"{place}.{n}") for n, each in enumerate(value))
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise RecipeError(f"{place} is {value!r}, expected {_spelled(kind)}")
    return value


def _parse_table(kind: type[Any], value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        raise RecipeError(f"{place} is {value!r}, expected a table")
    hints, prefix = get_type_hints(kind), f"{place}." if place else ""
    fields = dataclasses.fields(kind)
    for key in value:
        if key not in hints:
            raise RecipeError(f"{prefix}{key} is not known, expected one of {', '.join(f.name for f in fields)}")
    for field in fields:
        if field.default is field.default_factory is dataclasses.MISSING and field.name not in value:
            raise RecipeError(f"{prefix}{field.name} is missing")
    return kind(**{key: _parse(hints[key], each, f"{prefix}{key}") for key, each in value.items()})


def _spelled(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    return "a list" if get_origin(kind) is tuple else str(kind.__name__)
