"""Dates, numbers and times brought into one form."""

import datetime as dt
import random

import pytest

from training.data.families.normalization import TEMPLATES, Normalization, number_in_words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (99, "ninety-nine"),
        (305, "three hundred five"),
        (21_000, "twenty-one thousand"),
        (999_999, "nine hundred ninety-nine thousand nine hundred ninety-nine"),
    ],
)
def test_number_is_said_in_words(number: int, words: str) -> None:
    assert number_in_words(number) == words


def test_forms_are_what_their_names_say() -> None:
    day = dt.date(2031, 4, 9)
    for name, form in TEMPLATES.date_forms.items():
        expected = name.replace("YYYY", "%Y").replace("MM", "%m").replace("DD", "%d")
        assert form.format(y=day.year, m=day.month, d=day.day) == day.strftime(expected)


def test_answers_have_the_form_of_their_kind() -> None:
    kinds = set()
    for number in range(100):
        episode = Normalization().draw(random.Random(number), "test", 3)
        kind = episode.name.split("/")[1]
        kinds.add(kind)
        for instance in episode.instances:
            if kind == "time":
                hour, minute = map(int, instance.output.split(":"))
                half = "am" if hour < 12 else "pm"
                assert f"{(hour - 1) % 12 + 1}" in instance.input
                assert half in instance.input
                assert minute in (0, 30) or f":{minute:02}" in instance.input
            elif kind == "number":
                assert number_in_words(int(instance.output)) in instance.input
            else:
                assert any(sign.isdigit() for sign in instance.output)
    assert kinds == {"date", "number", "time"}
