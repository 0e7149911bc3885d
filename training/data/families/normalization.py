"""Family: dates, numbers and times of day, said in many ways, brought into one form.

All inputs are made here. An input belongs to the split of its hash, so none is in two.
"""

import datetime as dt
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cloud_service.task import Example, TaskDescription
from training.data.corpus import Split, split_of
from training.data.episodes import Episode, Instance, choose_examples
from training.data.templates import Templates, checked, fill, load_templates, placeholders

FIRST_DAY, DAYS = dt.date(1950, 1, 1), 30_000
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


@checked
@dataclass(frozen=True, slots=True)
class NormalizationTemplates:
    """What `normalization.toml` holds.

    Attributes:
        date_asks, number_asks, time_asks: Ways to ask.
        date_forms: Forms of a date, by the name that descriptions give them.
        dates: Ways to say a date: day `d`, month `month` or `short`, year `y`, ordinal ending `th`.
        date_texts, number_texts, time_texts: What stands around the value.
    """

    date_asks: Annotated[Templates, placeholders("form")]
    number_asks: Templates
    time_asks: Templates
    date_forms: dict[str, str]
    dates: Annotated[Templates, placeholders("d", "th", "month", "short", "y")]
    date_texts: Annotated[Templates, placeholders("value")]
    number_texts: Annotated[Templates, placeholders("value")]
    time_texts: Annotated[Templates, placeholders("value")]


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), NormalizationTemplates)


class Normalization:
    """Draws dates and a form for them, numbers in words, or times of day."""

    name = "normalization"

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode of one kind of value."""
        kind = rng.choice(("date", "date", "number", "time"))
        form = rng.choice(list(TEMPLATES.date_forms))
        instances: list[Instance] = []
        while len(instances) < inputs + 4:
            if kind == "date":
                instance = _date(rng, TEMPLATES.date_forms[form])
            else:
                instance = _number(rng) if kind == "number" else _time(rng)
            if split_of(instance.input) == split:
                instances.append(instance)
        if kind == "date":
            description = fill(rng, TEMPLATES.date_asks, form=form)
        else:
            description = rng.choice(TEMPLATES.number_asks if kind == "number" else TEMPLATES.time_asks)
        examples, taken = choose_examples(rng, instances, inputs, split)
        task = TaskDescription(description, tuple(Example(e.input, e.output) for e in examples))
        return Episode(f"{self.name}/{kind}", task, tuple(instances[taken : taken + inputs]))


def number_in_words(number: int) -> str:
    """A number under a million."""
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10 - 2] + (f"-{ONES[number % 10]}" if number % 10 else "")
    size, word = (100, "hundred") if number < 1000 else (1000, "thousand")
    rest = number % size
    return f"{number_in_words(number // size)} {word}" + (f" {number_in_words(rest)}" if rest else "")


def _date(rng: random.Random, form: str) -> Instance:
    day = FIRST_DAY + dt.timedelta(days=rng.randrange(DAYS))
    month = MONTHS[day.month - 1]
    ending = "th" if 10 < day.day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
    said = rng.choice(TEMPLATES.dates).format(d=day.day, th=ending, month=month, short=month[:3], y=day.year)
    return Instance(fill(rng, TEMPLATES.date_texts, value=said), form.format(y=day.year, m=day.month, d=day.day))


def _number(rng: random.Random) -> Instance:
    number = rng.randrange(10 ** rng.randint(1, 6))
    return Instance(fill(rng, TEMPLATES.number_texts, value=number_in_words(number)), str(number))


def _time(rng: random.Random) -> Instance:
    hour, minute = rng.randrange(24), rng.choice((0, 15, 30, 45, rng.randrange(60)))
    half, clock = "am" if hour < 12 else "pm", (hour - 1) % 12 + 1
    said = f"{clock}:{minute:02} {half}" if minute or rng.random() < 0.5 else f"{clock} {half}"
    if minute == 30 and rng.random() < 0.5:
        said = f"half past {clock} {half}"
    return Instance(fill(rng, TEMPLATES.time_texts, value=said), f"{hour:02}:{minute:02}")
