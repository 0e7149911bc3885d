"""Functions as applications have them, with messages that call them."""

import random
import re
from string import Formatter

from training.data.families.app_calls import TEMPLATES, load_app_functions
from training.data.families.function_calls import FEWEST_CALLS, FunctionCalls

TEXTS = {split: ["what a long day", "is it ready yet"] for split in ("train", "validation", "test")}
WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
NUMBERS = {word: number for number, word in enumerate(WORDS, 2)}


def test_messages_speak_of_parameters_that_their_function_has() -> None:
    for function in TEMPLATES.functions:
        known = {names.split("|")[0] for names in function.parameters}
        spoken = set()
        for message in function.messages:
            text, _, fixed = message.partition(" => ")
            names = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
            assert names <= known, (function.names[0], message)
            assert not fixed or fixed.partition("=")[0] in known - names, (function.names[0], message)
            spoken |= names | {fixed.partition("=")[0]} - {""}
        assert spoken == known, function.names[0]


def test_what_a_call_gives_is_said_and_a_function_belongs_to_one_split() -> None:
    functions = load_app_functions(TEXTS)
    messages = [message for function in TEMPLATES.functions for message in function.messages]
    fixed = {message.rpartition("=")[2] for message in messages if " => " in message}
    assert {split for function in functions for split in function.calls} == {"train", "validation", "test"}
    for function in functions:
        ((_, calls),) = function.calls.items()
        assert len(calls) >= FEWEST_CALLS
        for call in calls:
            assert call.arguments
            assert list(call.arguments) == [name for name in function.tool.parameters if name in call.arguments]
            assert len(set(call.arguments.values())) == len(call.arguments)
            words = {str(NUMBERS[word]) for word in re.findall(r"\w+", call.message.lower()) if word in NUMBERS}
            for value in call.arguments.values():
                assert value.lower() in call.message.lower() or value in words | fixed | {"true", "false"}, call


def test_variants_have_other_names_and_are_the_same_each_time() -> None:
    first, second = load_app_functions(TEXTS), load_app_functions(TEXTS)
    assert first == second
    flights = [f.tool for f in first if f.tool.name in TEMPLATES.functions[0].names]
    assert len({tool.parameters for tool in flights}) > 3
    episode = FunctionCalls(first).draw(random.Random(1), "validation", 2)
    assert len(episode.instances) == 2
