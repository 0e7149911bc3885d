"""Family: fields of a message as a JSON object of given keys, `null` for what the message does not say.

The messages are those of `function_calls`; the keys are parameters, whose spelling changes from draw to draw.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cloud_service.task import Example, TaskDescription
from training.data.corpus import Split
from training.data.episodes import Episode, Instance, choose_examples
from training.data.families.function_calls import CalledFunction, functions_of
from training.data.families.renaming import IDENTIFIER_SPELLINGS
from training.data.families.tools import humanize
from training.data.templates import Templates, checked, fill, listed, load_templates, maybe, placeholders

EMPTY_SHARE = 0.15  # messages that need not hold any of the fields


@checked
@dataclass(frozen=True, slots=True)
class JsonTemplates:
    """What `json_fields.toml` holds."""

    asks: Annotated[Templates, placeholders("fields")]
    formats: Templates


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), JsonTemplates)


class JsonFields:
    """Draws a function, one to three of its parameters as fields, and messages that call it."""

    name = "json_fields"

    def __init__(self, functions: Sequence[CalledFunction]) -> None:
        self._functions = functions

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode on the messages of one function; most of them hold one of the fields at least."""
        calls = rng.choice(functions_of(self._functions, split)).calls[split]
        fields = sorted({name for call in calls for name in call.arguments})
        asked = rng.sample(fields, min(len(fields), rng.choice((1, 2, 2, 3))))
        spell = rng.choice(IDENTIFIER_SPELLINGS)
        keys = {name: spell(humanize(name).split() or [name]) for name in asked}
        holding = [call for call in calls if any(name in call.arguments for name in asked)]
        instances = []
        for _ in range(inputs + 4):
            call = rng.choice(calls if rng.random() < EMPTY_SHARE else holding)
            values = {key: call.arguments.get(name) for name, key in keys.items()}
            instances.append(Instance(call.message, json.dumps(values, ensure_ascii=False)))
        examples, taken = choose_examples(rng, instances, inputs, split)
        task = TaskDescription(
            description=fill(rng, TEMPLATES.asks, fields=listed(list(keys.values()))),
            examples=tuple(Example(e.input, e.output) for e in examples),
            output_format=maybe(rng, 0.3, TEMPLATES.formats),
        )
        return Episode(self.name, task, tuple(instances[taken : taken + inputs]))
