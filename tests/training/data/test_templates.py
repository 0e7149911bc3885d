"""Templates: a file is what its reader expects, or is refused; placeholders are filled in."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest

from training.data.templates import (
    TemplateError,
    Templates,
    checked,
    fill,
    listed,
    listed_or,
    load_templates,
    maybe,
    placeholders,
)


@checked
@dataclass(frozen=True, slots=True)
class Toy:
    asks: Annotated[Templates, placeholders("noun", "label")]
    formats: Templates


def written(directory: Path, text: str) -> Path:
    path = directory / "toy.toml"
    path.write_text(text)
    return path


def test_file_becomes_its_dataclass_in_order(tmp_path: Path) -> None:
    path = written(tmp_path, 'asks = ["{noun}?", "a {label} {noun}"]\nformats = ["b", "a", "b"]')
    assert load_templates(path, Toy) == Toy(("{noun}?", "a {label} {noun}"), ("b", "a", "b"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('asks = ["{noun}"]', "formats\n"),
        ('asks = ["{noun}"]\nformats = ["a"]\nformat = ["b"]', "format\n"),
        ('asks = ["{noun}"]\nformats = []', "at least 1 item"),
        ('asks = ["{noun}"]\nformats = [1]', "valid string"),
        (
            'asks = ["{nuon}"]\nformats = ["a"]',
            r"has the placeholders \['nuon'\], expected some of \['noun', 'label'\]",
        ),
        ('asks = ["noun"]\nformats = ["a"]', r"'noun' has the placeholders \[\]"),
        ("asks = [", "toy.toml: "),
    ],
)
def test_other_file_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        load_templates(written(tmp_path, text), Toy)


def test_template_is_chosen_and_filled() -> None:
    rng = random.Random(0)
    assert {fill(rng, ("{a}!", "{a}?"), a="x") for _ in range(20)} == {"x!", "x?"}
    assert {maybe(rng, 0.5, ("x",)) for _ in range(20)} == {"", "x"}
    assert (listed("abc"), listed_or("abc")) == ("a, b, c", "a, b or c")
