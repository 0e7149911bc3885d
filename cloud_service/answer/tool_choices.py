"""Rule: which answers a task with tools names: the tools' names, as they are or wrapped, and what stands for none.

Whether an answer is such a name, or a call with arguments, is decided in `cloud_service.answer.contract`.
"""

import json
import re
from collections.abc import Iterator

from cloud_service.answer.no_tool import NONE_WORDS, none_answer, says_what_else
from cloud_service.task import TaskDescription

_KEYED = re.compile(r"""\{\s*["'](\w{1,64})["']\s*:\s*(?:"[^"{}]*"|<[^>]*>|\.\.\.|\w+)\s*\}""")
_KEY_WORDS = re.compile(r"\b(?:key|field)\s*(?:is|:|=|named|called)?\s*[\"'`]?(\w{1,64})[\"'`]?", re.IGNORECASE)


def task_text(task: TaskDescription) -> str:
    """What a task says in words: of itself, and of the form of answers."""
    return f"{task.description}\n{task.output_format}"


def choices_of_tools(task: TaskDescription) -> Iterator[tuple[str, ...]]:
    """Tools' names as answers, and what stands for none of them; nothing where an answer holds more than a name."""
    said = task_text(task)
    names = [tool.name for tool in task.tools]
    key = _key(task)
    if key is None and re.search(r"\bjson\b|[{}]", said, re.IGNORECASE):
        return
    none = none_answer(said)
    if none is None and says_what_else(task.description):
        return
    if none is not None:
        names.append(none)
    for separators in ((", ", ": "), (",", ":")):
        yield tuple(dict.fromkeys(_wrapped(name, key, separators) for name in names))
    # Examples may show, without a rule in words, what stands for none.
    others = {example.output for example in task.examples} - {_wrapped(name, key) for name in names}
    if len(others) == 1 and any(_wrapped(word, key) == next(iter(others)).lower() for word in NONE_WORDS):
        yield (*(_wrapped(name, key) for name in names), *others)


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


def answers_of(task: TaskDescription, name: str) -> Iterator[str]:
    """The answers that a tool's name may stand in."""
    yield name
    for separators in ((", ", ": "), (",", ":")):
        yield _wrapped(name, _key(task), separators)
