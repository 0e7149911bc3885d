"""Rule: which closed set of answers a task description names, and what is said there of each of them.

The set is given with the request, or follows from its tools, or is stated in words or by examples. Where it is in
doubt, the answer is any text. How texts become numbers belongs to `cloud_service.generator`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cloud_service.stated_choices import LONGEST_LABEL, stated_sets
from cloud_service.task import TaskDescription, Tool

MOST_EXAMPLES = 16
"""Examples of one choice that are read."""

LONGEST_MEANING = 400
FEWEST_REPEATS = 3
"""How often examples must repeat each label before they alone make a closed set."""

_KEYED = re.compile(r"""\{\s*["'](\w{1,64})["']\s*:\s*(?:"[^"{}]*"|<[^>]*>|\.\.\.|\w+)\s*\}""")
_KEY_WORDS = re.compile(r"\b(?:key|field)\s*(?:is|:|=|named|called)?\s*[\"'`]?(\w{1,64})[\"'`]?", re.IGNORECASE)
_CALLS = re.compile(
    r"(?<!without )\b(?:arguments?|parameters?)\b"
    r"|\b(?:an?|the|one|json|tool|function|api|takes|as) calls?\b(?! exactly)",
    re.IGNORECASE,
)
"""Says that an answer is a call with arguments, and not the name of a tool."""

_SAY = r"\b(?:say|answer|reply|respond|return|write|output|print|give|use|choose|pick)(?:\s+with)?(?: just| only)?\s+"
_NONE = r"(?:\"([^\"\n]{1,40})\"|'([^'\n]{1,40})'|`([^`\n]{1,40})`|(no [\w-]{1,37}|[\w-]{1,40}))"
_NO_TOOL = (
    r"(?:no|none|nothing|not one|neither)\b[^.;\n]{0,60}?"
    r"|(?:it|this|that|(?:the|a) \w+)\b[^.;,\n]{0,40}?(?:\bnot|n't|\belse|\boutside|\bunrelated)\b[^.;,\n]{0,40}?"
)
_REST = r"(?:(?:any|every)thing else|all (?:the )?others?|all other \w+|the rest)"
_INPUTS = "requests?|messages?|questions?|queries|anything|everything"
_GETS = r"\s*(?:\b(?:gets?|is|are|becomes?|means)|->|=)"
_NONE_RULES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?:if|when|where)\s+(?:{_NO_TOOL}),?\s*(?:then )?{_SAY}{_NONE}\s*(?=[.;,\n]|$)",
        rf"{_SAY}{_NONE}\s+(?:if|when|where)\s+(?:{_NO_TOOL})\s*(?=[.;,\n]|$)",
        rf"\b(?:otherwise|else|in all other cases)[,:]?\s+(?:the answer is\s+|{_SAY})?{_NONE}\s*(?=[.;\n]|$)",
        rf"(?:{_SAY}|[.;]\s+){_NONE}\s+(?:for|to|on)\s+{_REST}\s*(?=[.;\n]|$)",
        rf"\b(?:{_INPUTS})\s+(?:outside|beyond|else|other|not)\b[^.;\n]{{0,50}}?{_GETS}\s+{_NONE}\s*(?=[.;\n]|$)",
        rf"\b(?:fall back|defaults?) (?:to|on|is)\s+{_NONE}\s*(?=[.;\n]|$)",
    )
]
_SOME_RULE = re.compile(r"\b(?:if|when)\s+(?:no|none|nothing)\b|\botherwise\b", re.IGNORECASE)
_NONE_WORDS = frozenset(
    ("none", "null", "other", "unknown", "fallback", "no_tool", "no tool", "no match", "nothing", "n/a", "out_of_scope")
)
_NOT_NONE = frozenset(
    ("the", "a", "an", "it", "its", "one", "that", "this", "your", "to", "in", "as", "with", "directly")
)


@dataclass(frozen=True, slots=True)
class Choice:
    """One member of a closed set.

    Attributes:
        text: The answer itself.
        meaning: What it stands for, in words.
        examples: Inputs that are to be answered by it.
    """

    text: str
    meaning: str
    examples: tuple[str, ...] = ()


def find_choices(task: TaskDescription) -> tuple[str, ...]:
    """The closed set of answers of a task, each once, at least two of them; empty for any text."""
    if task.answer is not None:
        return task.answer.choices
    task = task.normalized()
    outputs = [example.output for example in task.examples]
    for found in _choices_of_tools(task) if task.tools else _stated(task):
        if len(found) > 1 and set(outputs) <= set(found):
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


def _choices_of_tools(task: TaskDescription) -> Iterator[tuple[str, ...]]:
    """Tools' names as answers, and what stands for none of them; nothing where an answer holds more than a name."""
    said = f"{task.description}\n{task.output_format}"
    if _CALLS.search(said):
        return
    names = [tool.name for tool in task.tools]
    key = _key(task)
    if key is None and re.search(r"\bjson\b|[{}]", said, re.IGNORECASE):
        return
    none = _none_answer(said)
    if none is None and _SOME_RULE.search(task.description):
        return
    if none is not None:
        names.append(none)
    for separators in ((", ", ": "), (",", ":")):
        yield tuple(dict.fromkeys(_wrapped(name, key, separators) for name in names))
    # Examples may show, without a rule in words, what stands for none.
    others = {example.output for example in task.examples} - {_wrapped(name, key) for name in names}
    if len(others) == 1 and any(_wrapped(word, key) == next(iter(others)).lower() for word in _NONE_WORDS):
        yield (*(_wrapped(name, key) for name in names), *others)


def _none_answer(said: str) -> str | None:
    """What a rule in words tells to answer when no tool fits."""
    for rule in _NONE_RULES:
        for match in rule.finditer(said):
            answer = next(group for group in match.groups() if group is not None)
            if answer.lower() not in _NOT_NONE:
                return answer
    return None


def _key(task: TaskDescription) -> str | None:
    """The one key of the JSON object that answers are wrapped in: as the format says it, or as all examples show it."""
    said = task.output_format
    quoted = re.findall(r"\"(\w{1,64})\"", said)
    keyed = [match[1] for match in _KEYED.finditer(said)]
    if not keyed and re.search(r"\bjson\b", said, re.IGNORECASE):
        keyed = quoted or [match[1] for match in _KEY_WORDS.finditer(said)]
    if not said:
        keyed = [key for example in task.examples for key in _only_key(example.output)]
        return keyed[0] if len(keyed) == len(task.examples) and len(set(keyed)) == 1 else None
    return keyed[0] if len(set(keyed)) == 1 and set(quoted) - {"x", "name"} <= set(keyed) else None


def _only_key(output: str) -> tuple[str, ...]:
    try:
        parsed = json.loads(output)
    except (ValueError, RecursionError):
        return ()
    return (
        tuple(key for key in parsed if len(key) <= 64)
        if isinstance(parsed, dict) and [type(value) for value in parsed.values()] == [str]
        else ()
    )


def _wrapped(answer: str, key: str | None, separators: tuple[str, str] = (", ", ": ")) -> str:
    return answer if key is None else json.dumps({key: answer}, ensure_ascii=False, separators=separators)


def _answers_of(task: TaskDescription, name: str) -> Iterator[str]:
    yield name
    for separators in ((", ", ": "), (",", ":")):
        yield _wrapped(name, _key(task), separators)


def _stated(task: TaskDescription) -> Iterator[tuple[str, ...]]:
    if re.search(r"\bjson\b|[{}]", f"{task.description}\n{task.output_format}", re.IGNORECASE):
        return
    for text in (task.output_format, task.description):
        for stated in stated_sets(text):
            if stated.is_plain or task.examples:
                yield stated.members


def _repeated_outputs(outputs: Sequence[str]) -> tuple[str, ...]:
    counts = Counter(outputs)
    if (
        len(counts) < 2
        or "" in counts
        or min(counts.values()) < FEWEST_REPEATS
        or max(map(len, counts)) > LONGEST_LABEL
    ):
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
