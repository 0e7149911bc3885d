"""Family: extract what plays a named part in a message, such as the lender or the borrower of "Ana lends Tom a lamp".

Source: the functions of `app_calls`, whose messages are this project's own. Kinds of values are not enough to answer:
a message may hold two people, and only the description says which of them is asked for.
"""

import random
from collections.abc import Sequence

from cloud_service.task import Example, TaskDescription
from training.data.corpus import Split
from training.data.episodes import Episode, Instance, choose_examples
from training.data.families.app_calls import said_arguments
from training.data.families.extract import TEMPLATES
from training.data.families.function_calls import CalledFunction, functions_of
from training.data.families.tools import humanize
from training.data.templates import fill, maybe

FEWEST_MESSAGES = 6


class RoleExtraction:
    """Draws a parameter of a function, and messages that give it word for word."""

    name = "roles"

    def __init__(self, functions: Sequence[CalledFunction]) -> None:
        self._functions = functions

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode for one parameter."""
        found: dict[str, list[Instance]] = {}
        while not found:
            function = rng.choice(functions_of(self._functions, split))
            for call in function.calls[split]:
                for parameter, value in said_arguments(call):
                    found.setdefault(parameter, []).append(Instance(call.message, value))
            found = {
                parameter: messages
                for parameter, messages in found.items()
                if len(messages) >= FEWEST_MESSAGES and len(parameter) > 1
            }
        parameter = rng.choice(sorted(found))
        instances = [rng.choice(found[parameter]) for _ in range(inputs + 4)]
        examples, taken = choose_examples(rng, instances, inputs, split)
        task = TaskDescription(
            description=fill(rng, TEMPLATES.asks, slot=" ".join(humanize(parameter).split()) or parameter),
            examples=tuple(Example(e.input, e.output) for e in examples),
            output_format=maybe(rng, 0.4, TEMPLATES.formats),
        )
        return Episode(f"{self.name}/{function.tool.name}", task, tuple(instances[taken : taken + inputs]))
