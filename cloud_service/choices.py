"""Rule: which closed set of answers a task description names, and what is said there of each of them.

The set is given with the request, or follows from its tools, or is stated in words or by examples. Where it is in
doubt, the answer is any text. How texts become numbers belongs to `cloud_service.generator`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cloud_service.task import TaskDescription, Tool

MOST_EXAMPLES = 16
"""Examples of one choice that are read."""

LONGEST_MEANING = 400
LONGEST_LABEL = 40
FEWEST_REPEATS = 2
"""How often examples must repeat each label before they alone make a closed set."""

_KEYED = re.compile(r"""\{\s*["'](\w+)["']\s*:\s*(?:"[^"]*"|<[^>]*>|\.\.\.|\w+)\s*\}""")
_SAY = r"\b(?:say|answer|reply|return|respond|write|output|use)(?:\s+with)?\s+"
_NONE_RULES = (
    re.compile(
        rf"\b(?:if|when)\s+(?:no|none|nothing|not one)\b[^.;\n]{{0,60}}?,?\s*{_SAY}"
        r"[\"'`]?([\w-]+(?: match)?)[\"'`]?\s*(?=[.;,\n]|$)",
        re.IGNORECASE,
    ),
    re.compile(
        rf"{_SAY}[\"'`]?([\w-]+(?: match)?)[\"'`]?\s+"
        r"(?:if|when)\s+(?:no|none|nothing)\b",
        re.IGNORECASE,
    ),
)
_ITEM = r"(?:\"[^\"\n]{1,40}\"|'[^'\n]{1,40}'|`[^`\n]{1,40}`|[\w&+#-]+(?: [\w&+#-]+){0,2}?)"
_LISTED = re.compile(
    r"\b(?:(?:exactly |any )?one of(?: these| the following| the)?(?: \w+)?|labels?|categories|classes|options|tags"
    r"|possible answers|allowed values|allowed answers|values)\b(?: are| is)?\s*[:=]?\s*"
    rf"\(?({_ITEM}(?:\s*(?:,\s*(?:or |and )?|/|\||\bor\b|\band\b)\s*{_ITEM})+)\)?\s*(?=[.;\n)]|$)",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(r"\s*(?:,\s*(?:or |and )?|/|\||\bor\b|\band\b)\s*")


@dataclass(frozen=True, slots=True)
class Choice:
    """One member of a closed set.

    Attributes:
        text: The answer itself.
        meaning: What it stands for, in words.
        asked: The task's description with the answer behind it; empty where the meaning says all, as with a tool.
        examples: Inputs that are to be answered by it.
    """

    text: str
    meaning: str
    asked: str = ""
    examples: tuple[str, ...] = ()


def find_choices(task: TaskDescription) -> tuple[str, ...]:
    """The closed set of answers of a task, each once, at least two of them; empty for any text."""
    task = task.normalized()
    outputs = [example.output for example in task.examples]
    found = _choices_of_tools(task) if task.tools else _stated_labels(task)
    if found and set(outputs) <= set(found):
        return found
    return () if task.tools else _repeated_outputs(outputs)


def describe_choices(task: TaskDescription, choices: Sequence[str]) -> tuple[Choice, ...]:
    """What the task says of each choice."""
    task = task.normalized()
    answers = {answer: tool for tool in task.tools for answer in _answers_of(task, tool.name)}
    return tuple(
        Choice(
            text,
            tool_meaning(answers[text]) if text in answers else _label_meaning(task, text, choices),
            "" if text in answers else f"{task.description[:LONGEST_MEANING]} => {text}",
            tuple(example.input for example in task.examples if example.output == text)[:MOST_EXAMPLES],
        )
        for text in choices
    )


def tool_meaning(tool: Tool) -> str:
    """What an encoder reads of a tool: name in words, parameters and description."""
    spoken = in_words(tool.name)
    if tool.parameters:
        spoken += f" ({', '.join(in_words(parameter) for parameter in tool.parameters)})"
    return f"{spoken}: {tool.description}"[:LONGEST_MEANING] if tool.description else spoken


def in_words(name: str) -> str:
    """`PlayMusic_2` or `play_music-2` as `play music 2`; a name without letters as it is."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_\-.]+", " ", name).strip().lower() or name


def _choices_of_tools(task: TaskDescription) -> tuple[str, ...]:
    """Tools' names as answers, and what stands for none of them; empty where an answer holds more than a name."""
    keyed = _key(task)
    if keyed is None and re.search(r"\bjson\b|[{}]", task.output_format, re.IGNORECASE):
        return ()
    names = [tool.name for tool in task.tools]
    rules = [match[1] for rule in _NONE_RULES if (match := rule.search(f"{task.description}\n{task.output_format}"))]
    return tuple(dict.fromkeys(_wrapped(answer, keyed) for answer in (*names, *rules[:1])))


def _key(task: TaskDescription) -> str | None:
    """The one key of the JSON object that answers are wrapped in."""
    match = _KEYED.search(task.output_format)
    return match[1] if match else None


def _wrapped(answer: str, key: str | None) -> str:
    return answer if key is None else json.dumps({key: answer}, ensure_ascii=False)


def _answers_of(task: TaskDescription, name: str) -> Iterator[str]:
    yield name
    yield _wrapped(name, _key(task))


def _stated_labels(task: TaskDescription) -> tuple[str, ...]:
    for text in (task.output_format, task.description):
        for match in _LISTED.finditer(text):
            items = [item.strip(" \"'`") for item in _SEPARATOR.split(match[1])]
            if len(items) == len(set(items)) and all(0 < len(item) <= LONGEST_LABEL for item in items):
                return tuple(items)
    return ()


def _repeated_outputs(outputs: Sequence[str]) -> tuple[str, ...]:
    counts = Counter(outputs)
    if len(counts) < 2 or min(counts.values()) < FEWEST_REPEATS or max(map(len, counts)) > LONGEST_LABEL:
        return ()
    return tuple(sorted(counts))


def _label_meaning(task: TaskDescription, label: str, choices: Sequence[str]) -> str:
    """The label in words, with the sentences of the description that name this choice and no other."""
    spoken = in_words(label)
    clauses = []
    for sentence in re.split(r"(?<=[.!?;])\s+|\n+", task.description):
        named = [choice for choice in choices if re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", sentence)]
        if named == [label]:
            clauses.append(sentence.strip())
    return f"{spoken}: {' '.join(clauses)}"[:LONGEST_MEANING] if clauses else spoken
