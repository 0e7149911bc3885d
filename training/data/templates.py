"""Templates: the many ways in which people describe one task, drawn at random so that no single phrase names a task.

They are data, not code: `classify.toml` beside `classify.py`, and so on. A module says with a dataclass what its file
holds, and `load_templates` refuses a file that holds anything else. The order of templates decides what a seed draws:
a new one changes the draws of every run that follows.
"""

import json
import random
import string
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config

Templates = Annotated[tuple[str, ...], Field(min_length=1)]

checked = with_config(ConfigDict(extra="forbid", strict=True))
"""Decorates a dataclass that a file is read into: no unknown key, and no value of another type."""

T = TypeVar("T")


class TemplateError(ValueError):
    """A file of templates that is not what its reader expects."""


def placeholders(*names: str) -> AfterValidator:
    """Marks templates that are filled in: each has one of these placeholders at least, and no other."""

    def verify(templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            found = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
            if not found or not found <= set(names):
                raise ValueError(f"{template!r} has the placeholders {sorted(found)}, expected some of {list(names)}")
        return templates

    return AfterValidator(verify)


def load_templates(path: Path, kind: type[T]) -> T:
    """Reads a TOML file into a dataclass.

    Raises:
        TemplateError: A key is missing or not known, or a value is not what the dataclass says.
    """
    try:
        # By way of JSON, so that strict types still take a list for a tuple.
        return TypeAdapter(kind).validate_json(json.dumps(tomllib.loads(path.read_text(encoding="utf-8"))))
    except (ValidationError, tomllib.TOMLDecodeError) as e:
        raise TemplateError(f"{path}: {e}") from e


def fill(rng: random.Random, templates: Sequence[str], **values: str) -> str:
    """One of the templates, filled in."""
    return rng.choice(templates).format(**values)


def maybe(rng: random.Random, chance: float, templates: Sequence[str]) -> str:
    """One of the templates with the given chance, else nothing."""
    return rng.choice(templates) if rng.random() < chance else ""


def listed(labels: Sequence[str]) -> str:
    """Labels with commas."""
    return ", ".join(labels)


def listed_or(labels: Sequence[str]) -> str:
    """Labels with commas and a last `or`."""
    return f"{', '.join(labels[:-1])} or {labels[-1]}"
