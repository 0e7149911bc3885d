"""Rule: what answers of a task may look like: its answer contract, without codes.

It is given with the request, or follows from its tools, or is stated in words or by examples. Where it is in doubt, the
answer is any text.
- Tools are answered by their names, or by calls: where the task speaks of calls or arguments, or where tools have
  parameters and the task does not ask for a name.
- Examples that show other answers than these win, and decide how labels are spelled: the set may have been read wrong.
  Where others of them confirm it, one that shows another label contradicts it.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cloud_service.answer.choices import are_distinct
from cloud_service.answer.json_answers import find_json
from cloud_service.answer.no_tool import NONE_WORDS, none_answer, says_what_else
from cloud_service.answer.stated.opposites import are_opposites, is_polar
from cloud_service.answer.stated.stated_choices import LONGEST_LABEL, stated_sets
from cloud_service.answer.tool_choices import choices_of_tools, task_text
from cloud_service.task import TaskDescription
from loragen.contract.answer import FUNCTION_NAME_PATTERN, TEXT_ANSWER, AnswerContract, Function
from loragen.contract.errors import ContractError
from loragen.contract.limits import MAX_PARALLEL_CALLS
from loragen.contract.schema_values import find_fault
from loragen.contract.strict_json import load_strict_json

FEWEST_REPEATS = 3
"""How often examples must repeat each label before they alone make a closed set."""

FEWEST_SHOWN, FEWEST_WORDS = 3, 3
"""Examples that make a closed set of labels of one scale, and words of each input: see `_opposite_outputs`."""

_CALLS = re.compile(
    r"(?<!without )\b(?:arguments?|parameters?)\b"
    r"|\b(?:an?|the|one|json|tool|function|api|takes|as) calls?\b(?! exactly)",
    re.IGNORECASE,
)
"""Says that an answer is a call with arguments, and not the name of a tool."""

_JSON = re.compile(r"\bjson\b", re.IGNORECASE)
_ASKS_FOR_FORMAT = re.compile(
    r"\b(?:recogni[sz]e|identify|detect|guess|classify|determine|which|what)\b[^.?!\n]{0,80}\b(?:formats?|notations?|syntax"
    r"|file types?|fragments?|snippets?|markup)\b",
    re.IGNORECASE,
)
"""Asks for the format of the input, so that JSON is a label."""

_NAMES = re.compile(
    r"\b(?:answer|reply|respond|return|output|write|give|say|print|only|just)\b[^.\n]{0,40}\bnames?\b"
    r"|\b(?:tool|function|api)(?:'?s)? names?\b|\bnames? (?:only|alone|of (?:the|one|a) \w+)\b|^\W*names?\b",
    re.IGNORECASE | re.MULTILINE,
)
"""Says that an answer is the name of a tool."""


def find_answer(task: TaskDescription) -> AnswerContract:
    """The answer contract of a task; the choices of a closed set are at least two."""
    if task.answer is not None:
        return task.answer
    task = task.normalized()
    outputs = [example.output for example in task.examples]
    if task.tools and _wants_calls(task):
        return _calls(task)
    for found in choices_of_tools(task) if task.tools else _spelled(_stated(task)):
        if len(found) > 1 and set(outputs) <= set(found) and are_distinct(found):
            return AnswerContract("choice", found)
    if task.tools:
        return TEXT_ANSWER
    if repeated := _repeated_outputs(outputs) or _opposite_outputs(task):
        return AnswerContract("choice", repeated)
    return find_json(task) or TEXT_ANSWER


def is_answer(text: str, contract: AnswerContract) -> bool:
    """Whether a text is an answer that a contract takes; a call is JSON, with `name` and `arguments`, on one line."""
    return not find_answer_fault(text, contract, "answer")


def find_answer_fault(text: str, contract: AnswerContract, place: str) -> str:
    """What keeps a text from being an answer that a contract takes, with its place; empty when it is one.

    Args:
        text: An answer.
        contract: What it may be.
        place: What the answer is called.
    """
    if contract.kind == "text" or text in contract.choices or text == contract.none:
        return ""
    if contract.kind == "choice":
        return f"{place}: expected one of the choices, found another text"
    if contract.parallel and len(lines := text.split("\n")) > 1:
        if len(lines) > MAX_PARALLEL_CALLS:
            return f"{place}: expected at most {MAX_PARALLEL_CALLS} calls, found {len(lines)}"
        one = replace(contract, parallel=False, codes=(), none=None)
        return next(filter(None, (find_answer_fault(line, one, place) for line in lines)), "")
    try:
        value = load_strict_json(text)
    except ContractError as e:
        what = "a call, as JSON" if contract.functions else "JSON"
        return f"{place}: expected {what}, found another text: {e}"
    if contract.schema:
        return find_fault(value, contract.schema, place)
    return _fault_of_call(value, contract.functions, place)


def find_outside(task: TaskDescription) -> tuple[int, ...]:
    """Numbers, from 1, of the examples that show other answers than the task names, so that these may be any text."""
    if not task.examples or task.answer is not None or find_answer(task).kind != "text":
        return ()
    named = find_answer(replace(task, examples=()))
    examples = task.normalized().examples
    return tuple(number for number, each in enumerate(examples, 1) if not is_answer(each.output, named))


def find_contradiction(task: TaskDescription) -> int | None:
    """The place of an example, from 0, with a label outside of the closed set that others confirm; None for none.

    They confirm it by two labels, in as many examples as are outside of it, or by tools in more of them. A longer
    answer, one that is no name where tools are, or a label that is one of the set in another spelling, contradicts
    nothing.
    """
    if not task.examples or task.answer is not None or find_answer(task).kind != "text":
        return None
    named = find_answer(replace(task, examples=()))
    if named.kind != "choice":
        return None
    outputs = [example.output for example in task.normalized().examples]
    outside = [number for number, output in enumerate(outputs) if output not in named.choices]
    inside = len(outputs) - len(outside)
    if task.tools:
        is_confirmed = inside > len(outside)
    else:
        is_confirmed = len(set(outputs) & set(named.choices)) >= 2 and inside >= len(outside)
    if not is_confirmed:
        return None
    known = {_bare(choice) for choice in (*named.choices, *NONE_WORDS)}
    return next((n for n in outside if _is_other_label(outputs[n], known, is_tool=bool(task.tools))), None)


def _is_other_label(text: str, known: set[str], is_tool: bool) -> bool:
    if len(text) > LONGEST_LABEL or _bare(text) in known:
        return False
    return re.fullmatch(FUNCTION_NAME_PATTERN, text) is not None if is_tool else len(text.split()) <= 2


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()


def _fault_of_call(value: object, functions: Sequence[Function], place: str) -> str:
    if not isinstance(value, dict) or not {"name"} <= value.keys() <= {"name", "arguments"}:
        return f'{place}: expected a call, {{"name": ..., "arguments": {{...}}}}, found other JSON'
    function = next((each for each in functions if each.name == value["name"]), None)
    if function is None:
        return f"{place}.name: expected the name of one of the functions"
    arguments, place = value.get("arguments", {}), f"{place}.arguments"
    if function.parameters:
        return find_fault(arguments, function.parameters, place)
    return "" if arguments in ({}, None) else f"{place}: expected none: the function is described without parameters"


def _wants_calls(task: TaskDescription) -> bool:
    text, shown = task_text(task), [example.output for example in task.examples]
    if _CALLS.search(text):
        return True
    if not any(tool.schema for tool in task.tools) or _NAMES.search(text):
        return False
    return not any(set(shown) <= set(found) for found in choices_of_tools(task)) if shown else True


def _calls(task: TaskDescription) -> AnswerContract:
    """Calls of the task's tools; any text where a rule or an example leaves other answers open."""
    none = none_answer(task_text(task))
    names = {tool.name for tool in task.tools}
    if none is None:
        others = {example.output for example in task.examples if example.output.lower() in NONE_WORDS}
        none = others.pop() if len(others) == 1 else None
    if any(tool.parameters and not tool.schema for tool in task.tools):
        return TEXT_ANSWER  # nothing is known of their types
    if none in names:
        none = None  # one of the tools is called then
    elif none is None and says_what_else(task.description):
        return TEXT_ANSWER
    contract = AnswerContract(
        "tool_calls",
        functions=tuple(Function(tool.name, tool.schema) for tool in task.tools),
        none=none,
        # Who shows an answer of several calls wants them.
        parallel=any("\n" in example.output for example in task.examples),
    )
    return contract if all(is_answer(example.output, contract) for example in task.examples) else TEXT_ANSWER


def _stated(task: TaskDescription) -> Iterator[tuple[str, ...]]:
    text = task_text(task)
    is_label = _ASKS_FOR_FORMAT.search(text) is not None and len(_JSON.findall(text)) == 1
    if re.search(r"\{\s*\}|\{[^{}]{0,200}:", text) or (_JSON.search(text) and not is_label):
        return
    for stated in stated_sets(task.description, task.output_format):
        if is_label and not any(map(_JSON.fullmatch, stated.members)):
            continue
        if stated.is_plain or task.examples:
            yield stated.members


def _spelled(sets: Iterator[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """The sets in each spelling that examples may show: `yes or no` is often answered by Yes and No, or with a stop."""
    for found in sets:
        for end in ("", "."):
            for spell in (str, str.capitalize, str.lower, str.upper, str.title):
                yield tuple(spell(member) + end for member in found)


def _opposite_outputs(task: TaskDescription) -> tuple[str, ...]:
    """The labels that a few examples show, where these are words of one scale, and no words of the inputs.

    `hot` for `cold` may be a task of opposites, so inputs have to be longer than labels.
    """
    shown = tuple(sorted({example.output for example in task.examples}))
    if len(task.examples) < FEWEST_SHOWN or len(shown) < 2 or len(shown) == len(task.examples):
        return ()
    if not (is_polar(shown) or are_opposites(shown)) or not are_distinct(tuple(map(str.casefold, shown))):
        return ()
    for example in task.examples:
        words = re.findall(r"\w+", example.input.casefold())
        if len(words) < FEWEST_WORDS or any(output.casefold() in words for output in shown):
            return ()
    return shown


def _repeated_outputs(outputs: Sequence[str]) -> tuple[str, ...]:
    counts = Counter(outputs)
    if (
        len(counts) < 2
        or "" in counts
        or not are_distinct(tuple(counts))
        or min(counts.values()) < FEWEST_REPEATS
        or max(map(len, counts)) > LONGEST_LABEL
    ):
        return ()
    return tuple(sorted(counts))
