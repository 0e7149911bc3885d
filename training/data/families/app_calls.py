"""Functions as applications have them, with messages of people that call them, several values of one kind among them.

Functions, messages and values are this project's own. "swap Maria and Tom" and "take 20 away from 35" tell by their
words alone which value belongs to which parameter; copying is not enough. Whole functions are held out, by their names.
"""

import calendar
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cloud_service.task import Tool
from training.data.corpus import Split, split_of
from training.data.families.function_calls import Call, CalledFunction
from training.data.families.text_values import made_value
from training.data.templates import Templates, checked, load_templates

VARIANTS = 6
CALLS = 48
"""Of each variant of a function: other names, other calls."""

WORD_SHARE = 0.35
LONGEST_TEXT = 8  # words
_NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_FIXED = re.compile(r" => (\w+)=(\w+)$")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@checked
@dataclass(frozen=True, slots=True)
class AppFunction:
    """A function in `app_calls.toml`.

    Attributes:
        parameters: Kind of value by names of a parameter, divided by `|`; the first stands in the messages.
        messages: With values in braces; `=> NAME=VALUE` gives one that is not said.
    """

    names: Templates
    descriptions: Templates
    parameters: dict[str, str]
    messages: Templates


@checked
@dataclass(frozen=True, slots=True)
class AppCallTemplates:
    """What `app_calls.toml` holds: functions, and values by kind, or by part of a kind's values."""

    functions: tuple[AppFunction, ...]
    values: dict[str, Templates]


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), AppCallTemplates)
VALUES = TEMPLATES.values


def load_app_functions(texts: Mapping[Split, list[str]]) -> list[CalledFunction]:
    """Variants of every function with made calls, which all belong to the split of the function.

    Args:
        texts: Short texts by split, for messages and search terms.
    """
    found = []
    for function in TEMPLATES.functions:
        split = split_of(f"app/{function.names[0]}")
        found += [
            _variant(random.Random(f"app/{function.names[0]}/{n}"), function, n, split, texts[split])
            for n in range(VARIANTS)
        ]
    return found


def _variant(rng: random.Random, function: AppFunction, number: int, split: Split, texts: list[str]) -> CalledFunction:
    """A function under names of its own; the first variant keeps the first ones."""
    kinds, spelled = {}, {}
    for names, kind in function.parameters.items():
        known = names.split("|")
        kinds[known[0]] = kind
        spelled[known[0]] = rng.choice(known) if number else known[0]
    if len(set(spelled.values())) < len(spelled):
        spelled = {name: name for name in spelled}
    order = list(kinds) if number % 2 == 0 else rng.sample(list(kinds), len(kinds))
    name = rng.choice(function.names) if number else function.names[0]
    made = CalledFunction(Tool(name, rng.choice(function.descriptions), tuple(spelled[each] for each in order)))
    calls: dict[str, Call] = {}
    for _ in range(CALLS):
        message, given = _message(rng, rng.choice(function.messages), kinds, texts)
        calls[message] = Call(message, {spelled[each]: given[each] for each in order if each in given})
    made.calls[split] = list(calls.values())
    return made


def _message(
    rng: random.Random, template: str, kinds: Mapping[str, str], texts: list[str]
) -> tuple[str, dict[str, str]]:
    """A message, and its arguments by the first names of the parameters; no two have one value."""
    given = {}
    if fixed := _FIXED.search(template):
        template, given = template[: fixed.start()], {fixed[1]: fixed[2]}
    said = {}
    for name in dict.fromkeys(_PLACEHOLDER.findall(template)):
        said[name], given[name] = _value(rng, kinds[name], texts)
        while given[name] in [value for other, value in given.items() if other != name]:
            said[name], given[name] = _value(rng, kinds[name], texts)
    message = _PLACEHOLDER.sub(lambda found: said[found[1]], template)
    return (message[0].upper() + message[1:] if rng.random() < 0.4 and not template.startswith("{") else message), given


def _value(rng: random.Random, kind: str, texts: list[str]) -> tuple[str, str]:
    """A value as it is said, and as it is given to the function."""
    if kind.startswith("["):
        value = rng.choice(kind[1:-1].split("|"))
        return value, value
    if kind == "count":
        number = rng.randint(2, 12) if rng.random() < 0.7 else rng.randint(13, 90)
        said = _NUMBERS[number - 1] if number <= len(_NUMBERS) and rng.random() < WORD_SHARE else str(number)
        return said, str(number)
    if kind == "text":
        words = rng.choice(texts).split()
        start = rng.randint(0, max(0, len(words) - 3))
        value = " ".join(words[start : start + rng.randint(2, LONGEST_TEXT)]).strip(".,;:?! \"'") or "hello"
        return value, value
    value = _MAKERS[kind](rng)
    return value, value


def _of(values: Templates) -> Callable[[random.Random], str]:
    return lambda rng: rng.choice(values)


def _person(rng: random.Random) -> str:
    first = rng.choice(VALUES["first_names"])
    return first if rng.random() < 0.5 else f"{first} {rng.choice(VALUES['last_names'])}"


def _date(rng: random.Random) -> str:
    month, day = calendar.month_name[rng.randint(1, 12)], rng.randint(1, 28)
    forms = (
        f"2026-{rng.randint(1, 12):02}-{day:02}",
        f"{month} {day}",
        f"{day} {month}",
        f"{rng.randint(1, 12)}/{day}",
        f"{day}.{rng.randint(1, 12)}.2026",
        "tomorrow",
        "today",
        f"next {rng.choice(calendar.day_name)}",
        "next week",
        rng.choice(calendar.day_name),
        f"the {day}th" if 3 < day < 21 else f"{month} {day}, 2027",
    )
    return rng.choice(forms)


def _time(rng: random.Random) -> str:
    hour, minutes = rng.randint(1, 12), rng.choice(("00", "15", "30", "45"))
    return rng.choice(
        (
            f"{hour + 11}:{minutes}",
            f"{hour}:{minutes} {rng.choice(('am', 'pm'))}",
            f"{hour}{rng.choice(('am', 'pm'))}",
            f"{hour} o'clock",
            "noon",
        )
    )


def _amount(rng: random.Random) -> str:
    return f"{rng.randrange(2, 10 ** rng.randint(1, 4) + 2)}" + rng.choice(("", "", "", ".50", ".99"))


def _identifier(rng: random.Random) -> str:
    return rng.choice(("", "", "A-", "ORD", "#", "TK-", "INV-", "X")) + str(rng.randrange(100, 10 ** rng.randint(3, 7)))


def _version(rng: random.Random) -> str:
    return f"{rng.choice(('', 'v'))}{rng.randint(0, 9)}.{rng.randint(0, 20)}" + rng.choice(
        ("", f".{rng.randint(0, 9)}")
    )


def _handle(rng: random.Random) -> str:
    first, last = rng.choice(VALUES["first_names"]).lower(), rng.choice(VALUES["last_names"]).lower()
    return rng.choice((f"{first}_{last}", f"{first[0]}{last}", f"{first}{rng.randint(1, 99)}", f"{last}.{first}"))


_MAKERS: Mapping[str, Callable[[random.Random], str]] = {
    **{kind: _of(values) for kind, values in VALUES.items()},
    "amount": _amount,
    "bool": lambda rng: rng.choice(("true", "false")),
    "date": _date,
    "degrees": lambda rng: str(rng.randint(15, 80)),
    "email": lambda rng: made_value(rng, "email"),
    "handle": _handle,
    "id": _identifier,
    "measure": lambda rng: str(rng.randint(1, 200)) + rng.choice(("", "", f".{rng.randint(1, 9)}")),
    "number": lambda rng: made_value(rng, "number"),
    "percent": lambda rng: str(rng.randint(1, 100)),
    "person": _person,
    "phone": lambda rng: made_value(rng, "phone"),
    "rate": lambda rng: f"{rng.randint(1, 12)}" + rng.choice(("", ".5", ".25", ".9")),
    "small": lambda rng: str(rng.randint(0, 9)),
    "time": _time,
    "title": lambda rng: f"{rng.choice(VALUES['title_first'])} {rng.choice(VALUES['title_last'])}",
    "version": _version,
    "weekday": _of(tuple(calendar.day_name)),
    "year": lambda rng: str(rng.randrange(1950, 2027)),
}
"""Makes a value of each kind."""


def said_arguments(call: Call) -> list[tuple[str, str]]:
    """The arguments of a call whose values stand in its message word for word, once."""
    return [
        (parameter, value)
        for parameter, value in call.arguments.items()
        if len(re.findall(rf"(?<!\w){re.escape(value)}(?!\w)", call.message)) == 1
    ]
