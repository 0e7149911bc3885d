"""Functions with made messages that call them: thousands of names of parameters, each with a value in the message.

Source: Seal-Tools (Apache-2.0), whose parameters often have examples of values, such as "The area (e.g., 100, 500)".
The messages are of this project's own making: "work out the yield with a area of 500 and crop price = $10".
"""

import calendar
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cloud_service.task import Tool
from training.data.corpus import Split, read_records
from training.data.families.described import made_request
from training.data.families.function_calls import MOST_ARGUMENTS, MOST_PARAMETERS, Call, CalledFunction
from training.data.families.text_values import made_value
from training.data.families.tools import humanize
from training.data.templates import Templates, checked, fill, load_templates, placeholders

CALLS = 20
TRIES = 60
OF_SPLIT: dict[Split, slice] = {"train": slice(0, 12), "validation": slice(12, 16), "test": slice(16, 20)}
LONGEST_VALUE = 40
TELLING_SHARE = 0.6
BARE_SHARE = 0.5
PLAIN_NUMBER = re.compile(r"\d+(\.\d+)?")
_EXAMPLES = re.compile(r"\((?:e\.g\.|such as|for example),?:? ([^()]*)\)")


@checked
@dataclass(frozen=True, slots=True)
class MadeCallTemplates:
    """What `made_calls.toml` holds; `by_word` by a word of a parameter's name."""

    messages: Annotated[Templates, placeholders("request", "details")]
    joints: Templates
    details: Annotated[Templates, placeholders("name", "value")]
    bare: Annotated[Templates, placeholders("value")]
    given: Annotated[Templates, placeholders("name")]
    refused: Annotated[Templates, placeholders("name")]
    people: Templates
    places: Templates
    titles: Templates
    by_word: dict[str, Annotated[Templates, placeholders("name", "value")]]


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), MadeCallTemplates)


def load_made_functions(data: Path) -> list[CalledFunction]:
    """Functions with twenty made calls each, all of whose parameters can be given a value."""
    functions = []
    for record in read_records(data / "tools/definitions.jsonl.zst"):
        if record["source"] != "seal-tools" or not record["parameters"]:
            continue
        parameters = dict(list(record["parameters"].items())[:MOST_PARAMETERS])
        description = " ".join(record["description"].split()).rstrip(".")
        makers = {name: _maker(name, parameter["description"]) for name, parameter in parameters.items()}
        rng = random.Random(f"made_calls/{record['tool']}")
        calls: dict[str, Call] = {}
        for _ in range(TRIES):
            if len(calls) < CALLS and (call := _call(rng, description, makers)) is not None:
                calls[call.message] = call
        if len(calls) < CALLS:
            continue
        function = CalledFunction(Tool(record["tool"], description, tuple(parameters)))
        function.calls.update({split: list(calls.values())[part] for split, part in OF_SPLIT.items()})
        functions.append(function)
    return functions


_Make = Callable[[random.Random], str]


def _call(rng: random.Random, description: str, makers: Mapping[str, _Make]) -> Call | None:
    """A message with some of the arguments; None where two of them have one value."""
    request = made_request(rng, description)
    most = min(MOST_ARGUMENTS, len(makers))
    count = max(rng.randint(1, most), rng.randint(1, most))
    chosen = {name: makers[name](rng) for name in sorted(rng.sample(list(makers), count), key=list(makers).index)}
    if len(set(chosen.values())) < count:
        return None
    said = [
        _said(rng, name, chosen[name], is_bare=not place and rng.random() < BARE_SHARE)
        for place, name in enumerate(rng.sample(list(chosen), count))
    ]
    details = said[0]
    for each in said[1:]:
        details += rng.choice(TEMPLATES.joints) + each
    return Call(fill(rng, TEMPLATES.messages, request=request.rstrip("?.!"), details=details), chosen)


def _said(rng: random.Random, name: str, value: str, is_bare: bool) -> str:
    words = humanize(name)
    if value in ("true", "false"):
        return fill(rng, TEMPLATES.given if value == "true" else TEMPLATES.refused, name=words)
    telling = [templates for word, templates in TEMPLATES.by_word.items() if word in words.split()]
    if telling and rng.random() < TELLING_SHARE:
        return fill(rng, rng.choice(telling), name=words, value=value)
    return fill(rng, TEMPLATES.bare if is_bare else TEMPLATES.details, name=words, value=value)


def _maker(name: str, description: str) -> _Make:
    """Makes values of a parameter: like those that its description has, else like those that its name asks for."""
    found = _EXAMPLES.search(description)
    examples = [text.strip(" '\"") for text in re.split(r",\s|\sor\s", found[1])] if found else []
    examples = [text for text in examples if 0 < len(text) <= LONGEST_VALUE and "..." not in text and text != "etc."]
    if {text.lower() for text in examples} == {"true", "false"} or description.startswith("Whether"):
        return lambda rng: rng.choice(("true", "false"))
    if examples and all(PLAIN_NUMBER.fullmatch(text) for text in examples):
        return lambda rng: rng.choice(examples) if rng.random() < 0.3 else _like(rng, rng.choice(examples))
    if len(examples) > 1:
        return lambda rng: rng.choice(examples)
    return _by_name(humanize(name).split(), examples)


def _by_name(words: list[str], examples: list[str]) -> _Make:
    make = next((make for asked, make in _BY_NAME if words[-1] in asked or words[0] in asked), None)
    if make is None:
        values = examples or TEMPLATES.titles
        return lambda rng: rng.choice(values)
    return make


def _like(rng: random.Random, number: str) -> str:
    """Another number with as many digits."""
    return "".join(str(rng.randint(n == 0, 9)) if sign.isdigit() else sign for n, sign in enumerate(number))


def _identifier(rng: random.Random) -> str:
    return rng.choice(("", "", "A", "ABC", "P-", "user")) + str(rng.randrange(10, 10 ** rng.randint(2, 6)))


def _measure(rng: random.Random) -> str:
    return made_value(rng, "number") if rng.random() < 0.8 else f"{rng.randrange(100)}.{rng.randrange(1, 100)}"


def _date(rng: random.Random) -> str:
    year, month, day = rng.randrange(2015, 2031), rng.randint(1, 12), rng.randint(1, 28)
    name = calendar.month_name[month]
    return rng.choice(
        (f"{year}-{month:02}-{day:02}", f"{name} {day}", f"{day} {name} {year}", "tomorrow", "next Monday")
    )


_BY_NAME: tuple[tuple[frozenset[str], _Make], ...] = (
    (frozenset(("id", "number", "code")), _identifier),
    (frozenset(("year",)), lambda rng: str(rng.randrange(1900, 2031))),
    (frozenset(("date", "day")), _date),
    (frozenset(("time",)), lambda rng: f"{rng.randrange(24)}:{rng.choice(('00', '15', '30', '45'))}"),
    (frozenset(("email",)), lambda rng: made_value(rng, "email")),
    (frozenset(("url", "website")), lambda rng: made_value(rng, "url")),
    (frozenset(("phone",)), lambda rng: made_value(rng, "phone")),
    (frozenset(("price", "budget", "cost")), lambda rng: made_value(rng, rng.choice(("price", "number")))),
    (frozenset(("name", "author", "artist", "person", "player")), lambda rng: rng.choice(TEMPLATES.people)),
    (frozenset(("location", "country", "city", "region", "origin")), lambda rng: rng.choice(TEMPLATES.places)),
    (frozenset(("age", "length", "width", "height", "weight", "distance", "speed", "quantity")), _measure),
    (frozenset(("amount", "size", "area", "depth", "temperature", "limit", "duration", "count")), _measure),
)
"""Makes values of parameters whose first or last word is one of these."""
