"""Functions with made messages that call them."""

import random
from pathlib import Path

from training.data.corpus import SPLITS
from training.data.families.function_calls import FEWEST_CALLS, FunctionCalls
from training.data.families.made_calls import load_made_functions


def test_what_a_made_message_gives_stands_in_it_and_belongs_to_one_split(data: Path) -> None:
    functions = load_made_functions(data)
    assert len(functions) >= 5
    for function in functions:
        calls = [call for split in SPLITS for call in function.calls[split]]
        assert len({call.message for call in calls}) == len(calls)
        assert all(len(function.calls[split]) >= FEWEST_CALLS for split in SPLITS)
        for call in calls:
            assert call.arguments
            assert list(call.arguments) == [name for name in function.tool.parameters if name in call.arguments]
            assert all(value in call.message for value in call.arguments.values() if value not in ("true", "false"))


def test_made_functions_are_the_same_each_time_and_drawn_like_others(data: Path) -> None:
    first, second = load_made_functions(data), load_made_functions(data)
    assert [f.calls for f in first] == [f.calls for f in second]
    episode = FunctionCalls(first).draw(random.Random(1), "validation", 2)
    assert len(episode.instances) == 2
