"""Values in a text."""

import random
import re

import pytest

from training.data.families.text_values import insert_values

PATTERNS = {
    "email": r"[\w.]+@[\w.]+",
    "url": r"(https?://|www\.)\S+",
    "phone": r"[\d()+ -]{8,}",
    "price": r"[$€£]\d[\d.]*|\d[\d.]* (dollars|euros|EUR)",
    "number": r"\d+",
    "hashtag": r"#\w+",
}


@pytest.mark.parametrize("kind", PATTERNS)
def test_text_holds_one_value_of_the_wanted_kind(kind: str) -> None:
    crowded = 0
    for number in range(200):
        text, value = insert_values(random.Random(number), "call 2 of us at noon", kind)
        assert re.fullmatch(PATTERNS[kind], value)
        assert text.count(value) == 1
        crowded += len(text) > len(value) + len("call of us at noon") + 1
        if kind == "number":
            assert re.findall(r"\d+", text) == [value]
    assert (crowded > 50) == (kind != "number")
