"""What answers of a task may look like."""

import json
from dataclasses import replace

import pytest

from cloud_service.answer.contract import find_answer, find_contradiction, find_outside, is_answer
from cloud_service.task import Example, TaskDescription, Tool
from loragen.contract.answer import AnswerContract, Function

TOOLS = (Tool("play_music", "Plays a song.", ("song",)), Tool("set_alarm", ""))
NAMES = ("play_music", "set_alarm")

RULES = {
    "If no tool fits, answer none.": "none",
    "Reply no match when nothing matches.": "no match",
    "When none of them can help, say NONE.": "NONE",
    "Otherwise the answer is no_tool.": "no_tool",
    "Use fallback for anything else.": "fallback",
    "Requests outside of this list get null.": "null",
    "Answer other if the request is about something else.": "other",
    'If the request does not match any tool, return "no tool".': "no tool",
    "Everything else is unknown.": "unknown",
}

WRAPPED = (
    '{"tool": "<name of the tool>"}',
    "json, field: tool",
    'Our code parses the reply as JSON and reads "tool".',
    'Write {"tool": "x"} where x is the tool.',
    "An object in JSON format; key: tool, value: name of the function.",
)


def find_choices(task: TaskDescription) -> tuple[str, ...]:
    answer = find_answer(task)
    assert answer.kind == ("choice" if answer.choices else "text")
    return answer.choices


def _tools(description: str = "Pick a tool.", output_format: str = "", *outputs: str) -> TaskDescription:
    examples = tuple(Example(f"input {number}", output) for number, output in enumerate(outputs))
    return TaskDescription(description, examples, TOOLS, output_format)


def test_tools_are_a_closed_set_by_their_names() -> None:
    assert find_choices(_tools()) == NAMES
    assert find_choices(_tools("Which API would you call?", "Answer with the name only.", "set_alarm")) == NAMES


@pytest.mark.parametrize(("rule", "none"), RULES.items())
def test_rule_for_what_no_tool_serves_adds_its_answer(rule: str, none: str) -> None:
    assert find_choices(_tools(f"Pick a tool. {rule}")) == (*NAMES, none)


def test_example_of_no_tool_adds_its_answer() -> None:
    assert find_choices(_tools("Pick a tool.", "", "set_alarm", "none")) == (*NAMES, "none")


@pytest.mark.parametrize("output_format", WRAPPED)
def test_names_are_wrapped_where_the_format_names_the_key(output_format: str) -> None:
    found = find_choices(_tools("Pick a tool. Use none for anything else.", output_format))
    assert found == tuple(json.dumps({"tool": name}) for name in (*NAMES, "none"))


def test_examples_show_the_key_and_how_it_is_written() -> None:
    assert find_choices(_tools("Pick.", "", '{"name":"set_alarm"}')) == (
        '{"name":"play_music"}',
        '{"name":"set_alarm"}',
    )


@pytest.mark.parametrize(
    "task",
    [
        _tools("Turn the request into a function call."),  # and nothing is known of the song's type
        _tools("Pick a tool.", "JSON on one line"),
        _tools("If no tool fits, answer the user yourself."),
        _tools("Pick a tool.", "", "snooze"),
        _tools("Pick a tool.", "", "none", "other"),
        TaskDescription("Pick a tool.", tools=TOOLS[:1]),
        TaskDescription("Labels: good, bad", (Example("a", "fine"),)),
        TaskDescription("Labels: good, bad", output_format="JSON"),
        TaskDescription("Say where it is.", (Example("a", "Rome"), Example("b", "Rome"), Example("c", "Oslo"))),
    ],
)
def test_no_set_where_answers_may_be_others(task: TaskDescription) -> None:
    assert find_choices(task) == ()


@pytest.mark.parametrize(
    ("outputs", "choices"),
    [
        (("Yes", "No"), ("Yes", "No")),
        (("yes.",), ("yes.", "no.")),
        (("NO",), ("YES", "NO")),
        (("Yes", "no"), ()),
    ],
)
def test_examples_decide_how_labels_are_spelled(outputs: tuple[str, ...], choices: tuple[str, ...]) -> None:
    examples = tuple(Example(str(number), output) for number, output in enumerate(outputs))
    task = TaskDescription("Answer yes or no: is the mail angry?", examples)
    assert find_choices(task) == choices
    assert find_outside(task) == (() if choices else (1,))


@pytest.mark.parametrize(
    ("description", "outputs", "expected"),
    [
        ("Labels: good, bad", ("good", "fine", "bad"), 1),
        ("Labels: good, bad", ("good", "bad", "very good"), 2),
        ("Labels: good, bad", ("good", "bad", "good"), None),
        ("Labels: good, bad", ("good", "fine"), None),  # one label may be there by chance
        ("Labels: good, bad", ("good", "bad", "fine", "poor", "dull"), None),
        ("Labels: good, bad", ("good", "bad", "Good."), None),
        ("Labels: good, bad", ("good", "bad", "unknown"), None),
        ("Labels: good, bad", ("good", "bad", "good, because it ends well"), None),
        ("Say where it is.", ("Rome", "Oslo", "Bonn"), None),
    ],
)
def test_label_outside_of_a_set_that_others_confirm_contradicts_it(
    description: str, outputs: tuple[str, ...], expected: int | None
) -> None:
    examples = tuple(Example(str(number), output) for number, output in enumerate(outputs))
    task = TaskDescription(description, examples)
    assert find_contradiction(task) == expected
    assert find_contradiction(replace(task, answer=AnswerContract())) is None


def test_tool_that_is_not_there_contradicts_one_that_is() -> None:
    assert find_contradiction(_tools("Pick a tool.", "", "set_alarm", "set_alarm", "snooze")) == 2
    assert find_contradiction(_tools("Pick a tool.", "", "set_alarm", "snooze")) is None
    assert find_contradiction(_tools("Pick a tool.", "", "snooze")) is None
    assert find_contradiction(_tools("Pick a tool.", "", "set_alarm", "set_alarm", "none")) is None
    assert find_contradiction(_tools("Pick a tool.", "", "set_alarm", "set_alarm", "You're welcome")) is None


def test_example_outside_of_what_a_task_names_is_found() -> None:
    labels = TaskDescription("Labels: good, bad", (Example("a", "good"), Example("b", "fine"), Example("c", "bad")))
    assert find_outside(labels) == (2,)
    assert find_outside(replace(labels, examples=labels.examples[::2])) == ()
    assert find_outside(replace(labels, answer=AnswerContract())) == ()
    assert find_outside(_tools("Pick a tool.", "", "set_alarm", "snooze")) == (2,)
    assert find_outside(TaskDescription("Say where it is.", (Example("a", "Rome"),))) == ()


def test_format_comes_before_description() -> None:
    task = TaskDescription("Is the mail spam or ham?", output_format="Answer yes or no.")
    assert find_choices(task) == ("yes", "no")


def test_examples_alone_make_a_set_when_each_output_comes_often() -> None:
    outputs = ["good", "bad"] * 3
    task = TaskDescription("", tuple(Example(str(number), output) for number, output in enumerate(outputs)))
    assert find_choices(task) == ("bad", "good")


def test_few_examples_make_a_set_of_labels_of_one_scale() -> None:
    def task(*pairs: tuple[str, str]) -> TaskDescription:
        return TaskDescription("Judge it.", tuple(Example(*pair) for pair in pairs))

    formal = (("Dear Sir or Madam", "formal"), ("hey you there", "casual"), ("Yours faithfully, Tom", "formal"))
    assert find_answer(task(*formal)) == AnswerContract("choice", ("casual", "formal"))
    said = (("It rains a lot", "no"), ("We have two dogs", "yes"), ("She owns a cat", "yes"))
    assert find_answer(task(*said)).choices == ("no", "yes")
    for others in (
        formal[:2],
        (("the water is cold", "hot"), ("the stone is hot", "cold"), ("a cold, dark night", "hot")),
        (("hot", "cold"), ("cold", "hot"), ("warm", "cold")),
        (("I saw a whale", "mammal"), ("I saw a trout", "fish"), ("I saw a dog", "mammal")),
    ):
        assert find_answer(task(*others)).kind == "text"


def test_example_confirms_a_set_that_is_not_plain() -> None:
    task = TaskDescription("fruit or animal?")
    assert find_choices(task) == ()
    confirmed = TaskDescription("fruit or animal?", (Example("fig", "fruit"),))
    assert find_choices(confirmed) == ("fruit", "animal")


SONG = '{"properties":{"song":{"type":"string"}},"required":["song"],"type":"object"}'
WHOLE = (Tool("play_music", "Plays a song.", ("song",), SONG), Tool("set_alarm", ""))
CALLS = AnswerContract("tool_calls", functions=(Function("play_music", SONG), Function("set_alarm")))
CALL = '{"name": "play_music", "arguments": {"song": "Yesterday"}}'


def _whole(description: str = "", output_format: str = "", *outputs: str) -> TaskDescription:
    return replace(_tools(description, output_format, *outputs), tools=WHOLE)


@pytest.mark.parametrize(
    "task",
    [
        _whole(),
        _whole("Pick the right tool."),
        _whole("Turn the request into a function call."),
        _whole("Pick the function and its arguments."),
        _whole("Pick a tool.", 'A JSON object with "name" and "arguments".'),
        _whole("Pick a tool.", "", CALL, '{"name": "set_alarm", "arguments": {}}'),
        _whole("Answer with the name and the arguments."),
    ],
)
def test_tools_with_parameters_are_called(task: TaskDescription) -> None:
    assert find_answer(task) == CALLS


@pytest.mark.parametrize(
    "task",
    [
        _whole("Answer with the name of the tool."),
        _whole("Pick a tool.", "the tool's name"),
        _whole("Pick a tool.", "", "set_alarm"),
        _whole("Pick a tool. Reply only with its name."),
    ],
)
def test_task_that_asks_for_a_name_gets_one(task: TaskDescription) -> None:
    assert find_answer(task) == AnswerContract("choice", NAMES)


def test_call_may_be_none() -> None:
    assert find_answer(_whole("Use fallback for anything else.")) == replace(CALLS, none="fallback")
    assert find_answer(_whole("Call a tool.", "", CALL, "none")) == replace(CALLS, none="none")
    assert find_answer(_whole("If no tool fits, answer the user yourself.")).kind == "text"
    assert find_answer(_whole("Call a tool.", "", "play_music(Yesterday)")).kind == "text"


def test_tools_without_parameters_are_called_where_the_task_says_so() -> None:
    task = TaskDescription("Turn the request into a function call.", tools=(Tool("stop", ""), Tool("go", "")))
    assert find_answer(task) == AnswerContract("tool_calls", functions=(Function("stop"), Function("go")))


@pytest.mark.parametrize(
    ("text", "contract", "expected"),
    [
        (CALL, CALLS, True),
        ('{"name": "set_alarm"}', CALLS, True),
        ('{"name": "play_music", "arguments": {"song": 1}}', CALLS, False),
        ('{"name": "play_music", "arguments": {}, "x": 1}', CALLS, False),
        ('{"name": "other", "arguments": {}}', CALLS, False),
        ("none", CALLS, False),
        ("none", replace(CALLS, none="none"), True),
        ("[" * 100_000, CALLS, False),
        ('{"a": 1}', AnswerContract("json", schema='{"type":"object"}'), True),
        ("[1]", AnswerContract("json", schema='{"type":"object"}'), False),
        ("b", AnswerContract("choice", ("a",)), False),
        ("b", AnswerContract(), True),
    ],
)
def test_text_is_an_answer_of_a_contract_or_not(text: str, contract: AnswerContract, expected: bool) -> None:
    assert is_answer(text, contract) is expected


def test_call_with_a_line_separator_in_it_is_one_call() -> None:
    parameters = '{"properties":{"text":{"type":"string"}},"type":"object"}'
    call = '{"name": "say", "arguments": {"text": "one\u2028two"}}'
    tool = Tool("say", "Says a text.", ("text",), parameters)
    found = find_answer(TaskDescription("Call the tool.", (Example("a", call),), (tool,)))
    assert found == AnswerContract("tool_calls", functions=(Function("say", parameters),))
    assert is_answer(f"{call}\n{call}", replace(found, parallel=True))


def test_several_calls_are_lines_of_an_answer() -> None:
    """Where the contract says so; a task that shows them wants them."""
    one, two = '{"name": "stop", "arguments": {}}', '{"name": "stop"}'
    contract = AnswerContract("tool_calls", functions=(Function("stop"),), none="none", parallel=True)
    for text in (one, f"{one}\n{two}", "none"):
        assert is_answer(text, contract)
    for text in (f"{one}\nnone", f"{one}\n\n{two}", "\n".join([two] * 17), f"{one}\nstop"):
        assert not is_answer(text, contract)
    assert not is_answer(f"{one}\n{two}", replace(contract, parallel=False))
    tools = (Tool("stop", "Stops."),)
    for output, parallel in ((one, False), (f"{one}\n{two}", True)):
        task = TaskDescription("Answer with the calls of the tools that serve it.", (Example("a", output),), tools, "")
        assert find_answer(task) == AnswerContract("tool_calls", functions=(Function("stop"),), parallel=parallel)


def test_texts_that_only_unicode_writes_differently_are_no_closed_set() -> None:
    """Whoever reads them sees one choice twice."""
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert find_answer(TaskDescription(f"Answer {composed} or tea.")).choices == (composed, "tea")
    assert find_answer(TaskDescription(f"Answer {composed} or {decomposed}.")) == AnswerContract()
    shown = tuple(Example(str(n), each) for n in range(3) for each in (composed, decomposed))
    assert find_answer(TaskDescription("Sort.", shown)) == AnswerContract()
