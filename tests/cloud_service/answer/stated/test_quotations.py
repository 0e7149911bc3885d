"""Quotations as single characters."""

import pytest

from cloud_service.answer.stated.quotations import MASK, mask, unmask, without_masks


@pytest.mark.parametrize(
    ("text", "quotations"),
    [
        ('Say "yes, sure" or "no".', ["yes, sure", "no"]),
        ("Answer `a` or 'b c', not the writer's.", ["a", "b c"]),
        ("Antworte „ja“ oder «nein».", ["ja", "nein"]),
        ("Pick ☀️ or 🌧️.", ["☀️", "🌧️"]),
        ("Write < if it is less.", ["<"]),
        ("Choose one:\n- billing: money\n- late mail\n", ["billing", "late mail"]),
        ("Labels:\nhot - over 30\ncold - below 0\n", ["hot", "cold"]),
    ],
)
def test_each_quotation_is_one_character_and_comes_back(text: str, quotations: list[str]) -> None:
    masked, found = mask(text)
    assert found == quotations
    assert [unmask(each, found) for each in MASK.findall(masked)] == quotations


def test_lines_with_commas_stay_as_they_are() -> None:
    assert mask("Choose one:\n- red, green\n- blue\n") == ("Choose one:\n- red, green\n- blue\n", [])


def test_text_that_has_such_characters_of_its_own_loses_them() -> None:
    assert without_masks("a \ue000 b") == "a   b"
