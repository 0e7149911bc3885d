"""Family: function calls with arguments, as JSON of one form: `{"name": ..., "arguments": {...}}`.

Source: messages of Schema-Guided Dialogue (CC BY-SA 4.0) whose arguments stand in them word for word. Tools of
Seal-Tools (Apache-2.0) stand beside the right one, so that there is something to choose. Names of tools and parameters
change their spelling from draw to draw.
"""

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloud_service.task import Example, TaskDescription, Tool
from training.data.corpus import Split, read_records, split_of
from training.data.episodes import Episode, Instance, choose_examples
from training.data.families.renaming import IDENTIFIER_SPELLINGS
from training.data.families.tools import LONGEST_DESCRIPTION, humanize
from training.data.templates import Templates, checked, load_templates, maybe

LONGEST_MESSAGE = 160
MOST_ARGUMENTS = 4
MOST_PARAMETERS = 7
FEWEST_CALLS = 4  # of a function in a split, so that an episode does not repeat one message
RESPELLED_SHARE = 0.5
SHORTEST_TELLING_WORD = 4  # "pets" of `pets_allowed`, not "has" of `has_wifi`


@checked
@dataclass(frozen=True, slots=True)
class CallTemplates:
    """What `function_calls.toml` holds; `implied` names words that stand for a value, by parameter."""

    asks: Templates
    formats: Templates
    implied: dict[str, Templates]


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), CallTemplates)


@dataclass(frozen=True, slots=True)
class Call:
    """A message, and the arguments that it gives, in the order of the function's parameters."""

    message: str
    arguments: Mapping[str, str]


@dataclass(slots=True)
class CalledFunction:
    """A function with messages that call it."""

    tool: Tool
    calls: dict[Split, list[Call]] = field(default_factory=lambda: defaultdict(list))


class FunctionCalls:
    """Draws one to five functions with their parameters, and messages that call one of them.

    Args:
        functions: Those that are called.
        others: Tools that only stand beside them.
    """

    name = "function_calls"

    def __init__(self, functions: Sequence[CalledFunction], others: Sequence[Tool] = ()) -> None:
        self.functions, self._others = functions, others

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode; half of the sets have names spelled otherwise than in the source."""
        pool = functions_of(self.functions, split)
        # Two services may have a function of one name; one of them is drawn.
        chosen = {humanize(f.tool.name): f for f in rng.sample(pool, min(len(pool), rng.choice((1, 1, 2, 3))))}
        others = {
            humanize(tool.name): tool
            for tool in rng.sample(self._others, min(len(self._others), rng.choice((0, 0, 1, 2))))
            if humanize(tool.name) not in chosen
        }
        spell = rng.choice(IDENTIFIER_SPELLINGS) if rng.random() < RESPELLED_SHARE else None
        respelled = {name: _respelled(function.tool, spell) for name, function in chosen.items()}
        instances = []
        for _ in range(inputs + 4):
            name = rng.choice(list(chosen))
            call = rng.choice(chosen[name].calls[split])
            tool, spelled = respelled[name]
            arguments = {spelled[key]: value for key, value in call.arguments.items()}
            instances.append(Instance(call.message, call_text(tool.name, arguments)))
        examples, taken = choose_examples(rng, instances, inputs, split)
        shown = [tool for tool, _ in (*respelled.values(), *(_respelled(tool, spell) for tool in others.values()))]
        task = TaskDescription(
            description=rng.choice(TEMPLATES.asks),
            examples=tuple(Example(e.input, e.output) for e in examples),
            tools=tuple(rng.sample(shown, len(shown))),
            output_format=maybe(rng, 0.6, TEMPLATES.formats),
        )
        return Episode(self.name, task, tuple(instances[taken : taken + inputs]))


def call_text(name: str, arguments: Mapping[str, str]) -> str:
    """The canonical JSON of a call."""
    return json.dumps({"name": name, "arguments": dict(arguments)}, ensure_ascii=False)


def functions_of(functions: Sequence[CalledFunction], split: Split) -> list[CalledFunction]:
    """The functions with enough calls in a split."""
    return [function for function in functions if len(function.calls[split]) >= FEWEST_CALLS]


def load_functions(data: Path) -> list[CalledFunction]:
    """Every function that messages call with arguments, seen and held out alike.

    A message is left out when one of its arguments does not stand in it word for word, and when it says more than its
    arguments do: JSON without that would be wrong.
    """
    schemas = {r["tool"]: r for r in read_records(data / "tools/definitions.jsonl.zst") if r["source"] == "sgd"}
    found: dict[str, CalledFunction] = {}
    for record in read_records(data / "tools/utterances.jsonl.zst"):
        arguments: dict[str, Any] = record["arguments"] or {}
        message = " ".join(record["utterance"].split())
        if record["tool"] not in schemas or not 0 < len(arguments) <= MOST_ARGUMENTS or len(message) > LONGEST_MESSAGE:
            continue
        schema = dict(list(schemas[record["tool"]]["parameters"].items())[:MOST_PARAMETERS])
        values = {key: parameter["values"] for key, parameter in schema.items()}
        if not arguments.keys() <= schema.keys() or _says_more(message, arguments, values):
            continue
        if not all(isinstance(value, str) and _stands_in(value, message) for value in arguments.values()):
            continue
        text = " ".join(schemas[record["tool"]]["description"].split())[:LONGEST_DESCRIPTION]
        tool = Tool(record["tool"].split(".")[-1], text, tuple(schema))
        # As in `extract`: what is said to the test services stays unseen as input.
        split: Split = "test" if record["split"] == "test" else split_of(message)
        ordered = {key: arguments[key] for key in schema if key in arguments}
        found.setdefault(record["tool"], CalledFunction(tool)).calls[split].append(Call(message, ordered))
    drawn = {c.message for f in found.values() for c in f.calls["train"] + f.calls["validation"]}
    for function in found.values():
        function.calls["test"] = [call for call in function.calls["test"] if call.message not in drawn]
    return list(found.values())


def _says_more(message: str, arguments: Mapping[str, Any], values: Mapping[str, Sequence[str]]) -> bool:
    """Whether a value of the schema, or a word that stands for one, is in the message but not among its arguments.

    A parameter that is true or false is spoken of by its own words: "no subtitles".
    """
    given = {str(value).lower() for value in arguments.values()}
    for parameter, possible in values.items():
        if parameter in arguments:
            continue
        words = {*(str(value).lower() for value in possible), *TEMPLATES.implied.get(parameter, ())}
        if set(possible) == {"True", "False"}:
            words = {word for word in humanize(parameter).split() if len(word) >= SHORTEST_TELLING_WORD}
        if any(_stands_in(word, message.lower()) for word in words - given):
            return True
    return False


def _stands_in(words: str, message: str) -> bool:
    """Whether the words are in the message, not as a part of longer ones."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", message) is not None


def _respelled(tool: Tool, spell: Callable[[Sequence[str]], str] | None) -> tuple[Tool, dict[str, str]]:
    """The tool under another spelling, and its parameters' new names by their old ones."""
    same = {name: name for name in tool.parameters}
    if spell is None:
        return tool, same
    spelled = {name: spell(humanize(name).split() or [name]) for name in tool.parameters}
    if len(set(spelled.values())) < len(spelled):  # two became one
        spelled = same
    return Tool(spell(humanize(tool.name).split() or [tool.name]), tool.description, tuple(spelled.values())), spelled
