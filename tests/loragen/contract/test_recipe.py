"""Recipes: gates and keys have one form, and keys go with codes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from loragen.contract.answer import AnswerContract
from loragen.contract.errors import ContractError, FormatError, LimitError, NonFiniteError
from loragen.contract.recipe import Recipe, canonical_gates, encode_recipe, gates_digest, parse_recipe
from tests.loragen.contract.files import canonical, split


@pytest.mark.parametrize(
    ("gate", "error"),
    [
        (b"\x00\x00\xc0\x7f", NonFiniteError),
        (b"\x00\x00\x80\x7f", NonFiniteError),
        (b"\x00\x00\x80\xff", NonFiniteError),
        (b"\x00\x00\x00\x80", FormatError),
        (b"\x01\x00\x00\x00", FormatError),
    ],
    ids=["nan", "inf", "-inf", "negative zero", "subnormal"],
)
def test_recipe_with_a_gate_that_is_not_canonical_is_refused(
    golden_bytes: Callable[[str], bytes], gate: bytes, error: type[ContractError]
) -> None:
    header, data = split(golden_bytes("recipe"))
    with pytest.raises(error):
        parse_recipe(canonical(header, gate + data[4:]))


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (b"\x00\x00\xc0\x7f", NonFiniteError),
        (b"\x00\x00\x00\x80", FormatError),
        (b"\x01\x00\x00\x00", FormatError),
    ],
    ids=["nan", "negative zero", "subnormal"],
)
def test_recipe_with_a_key_that_is_not_canonical_is_refused(
    golden: Path, number: bytes, error: type[ContractError]
) -> None:
    data = (golden / "recipe-1-choice.safetensors").read_bytes()
    parse_recipe(data)
    with pytest.raises(error):
        parse_recipe(data[:-4] + number)


def recipe(answer: AnswerContract, keys: np.ndarray | None) -> Recipe:
    gates = np.ones((2, 1, 3), np.float32)
    return Recipe("test", "a" * 64, "b" * 64, "test/edge", "c" * 64, 5, gates, answer, keys)


@pytest.mark.parametrize(
    ("codes", "shape", "error"),
    [
        ((), (1, 2, 3), FormatError),
        ((7, 5), None, FormatError),
        ((7, 5), (1, 3, 3), FormatError),
        ((7, 5), (2, 3), FormatError),
        ((7, 5), (257, 2, 3), LimitError),
        ((7, 5), (1, 2, 1025), LimitError),
    ],
)
def test_keys_that_do_not_go_with_the_codes_cannot_be_made(
    codes: tuple[int, ...], shape: tuple[int, ...] | None, error: type[ContractError]
) -> None:
    answer = AnswerContract("choice", ("yes", "no"), codes)
    with pytest.raises(error):
        recipe(answer, None if shape is None else np.ones(shape, np.float32))


def test_keys_are_made_canonical_and_read_back() -> None:
    keys = np.array([[[1e-40, -0.0, 2.0], [0.5, 3.0, -1.0]]], np.float32)
    answer = AnswerContract("choice", ("yes", "no"), (7, 5))
    parsed = parse_recipe(encode_recipe(recipe(answer, keys)))
    assert parsed.keys is not None
    assert parsed.keys.tolist() == [[[0.0, 0.0, 2.0], [0.5, 3.0, -1.0]]]
    assert parsed.answer == answer
    assert gates_digest(parsed.gates, parsed.keys) == gates_digest(parsed.gates, keys) != gates_digest(parsed.gates)


def test_recipe_over_its_limit_is_not_written() -> None:
    answer = AnswerContract("choice", tuple(map(str, range(256))), tuple(range(256)))
    with pytest.raises(LimitError, match="recipe"):
        encode_recipe(recipe(answer, np.ones((17, 256, 1024), np.float32)))


def test_gates_of_equal_meaning_have_one_digest_and_shape_counts() -> None:
    gates = np.array([[[0.0, 1.0, 1e-40]]], np.float32)
    assert gates_digest(gates) == gates_digest(np.array([[[-0.0, 1.0, 0.0]]], np.float32))
    assert gates_digest(np.ones((1, 3, 2), np.float32)) != gates_digest(np.ones((2, 3, 1), np.float32))


def test_canonical_gates_are_a_copy_that_cannot_be_written() -> None:
    gates = np.array([[[1e-40, -1.0]]], np.float32)
    canonical = canonical_gates(gates)
    assert canonical.tolist() == [[[0.0, -1.0]]]
    assert gates[0, 0, 0] != 0
    with pytest.raises(ValueError, match="read-only"):
        canonical[0, 0, 0] = 1
