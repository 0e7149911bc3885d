"""Choice heads: their text has one form; `test_golden` and `test_assembly` prove the bits of what they add."""

import numpy as np
import pytest

from loragen.contract.choice_head import ChoiceHeadLayout, choice_factors, encode_choice, parse_choice
from loragen.contract.errors import ContractError, FormatError, LimitError


@pytest.mark.parametrize(
    ("head", "text"),
    [(None, "null"), (ChoiceHeadLayout(2, 8, (330, 7)), '{"codes":[330,7],"first_layer":2,"rank":8}')],
    ids=["none", "two codes"],
)
def test_head_has_one_text(head: ChoiceHeadLayout | None, text: str) -> None:
    assert encode_choice(head) == text
    assert parse_choice(text) == head


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        " null",
        "0",
        "[]",
        "{}",
        '{"codes":7,"first_layer":2,"rank":8}',
        '{"codes":[],"first_layer":2,"rank":8}',
        '{"codes":[7,7],"first_layer":2,"rank":8}',
        '{"codes":[true],"first_layer":2,"rank":8}',
        '{"codes":[[7]],"first_layer":2,"rank":8}',
        '{"codes":[-1],"first_layer":2,"rank":8}',
        '{"codes":[2147483648],"first_layer":2,"rank":8}',
        '{"codes":[7],"first_layer":256,"rank":8}',
        '{"codes":[7],"first_layer":2,"rank":0}',
        '{"codes":[7],"first_layer":2,"rank":1025}',
        '{"codes":[7],"first_layer":2,"rank":8.0}',
        '{"codes":[7],"first_layer":2}',
        '{"codes":[7],"first_layer":2,"name":"x","rank":8}',
        '{"codes": [7],"first_layer":2,"rank":8}',
        '{"rank":8,"first_layer":2,"codes":[7]}',
        "[" * 100_000,
    ],
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        parse_choice(text)


def test_too_many_codes_are_refused() -> None:
    ChoiceHeadLayout(0, 1, tuple(range(256)))
    with pytest.raises(LimitError, match="256"):
        ChoiceHeadLayout(0, 1, tuple(range(257)))
    with pytest.raises(FormatError, match="once"):
        ChoiceHeadLayout(0, 1, (1, 2, 1))


def test_a_key_turns_activations_into_the_direction_of_its_code() -> None:
    """Whole numbers, which float16 holds: B A x is the direction of each code times how much its key asks for it."""
    random = np.random.default_rng(0)
    a, directions = (random.integers(-3, 4, shape).astype(np.float16) for shape in ((2, 6), (4, 3)))
    keys = random.integers(-3, 4, (2, 2)).astype(np.float32)
    head_a, head_b = choice_factors((a, directions), keys)
    x = random.integers(-3, 4, 6)
    asked = keys @ (a @ x)
    np.testing.assert_array_equal(head_b @ (head_a @ x), asked[0] * directions[:, 0] + asked[1] * directions[:, 1])
