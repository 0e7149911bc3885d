"""Which closed set a task names, and what is said of each choice."""

import json

import pytest

from cloud_service.choices import describe_choices, find_choices, in_words
from cloud_service.task import Example, TaskDescription, Tool

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
        _tools("Turn the request into a function call."),
        _tools("Pick the function and its arguments."),
        _tools("Pick a tool.", 'A JSON object with "name" and "arguments".'),
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


def test_format_comes_before_description() -> None:
    task = TaskDescription("Is the mail spam or ham?", output_format="Answer yes or no.")
    assert find_choices(task) == ("yes", "no")


def test_examples_alone_make_a_set_when_each_output_comes_often() -> None:
    outputs = ["good", "bad"] * 3
    task = TaskDescription("", tuple(Example(str(number), output) for number, output in enumerate(outputs)))
    assert find_choices(task) == ("bad", "good")


def test_example_confirms_a_set_that_is_not_plain() -> None:
    task = TaskDescription("fruit or animal?")
    assert find_choices(task) == ()
    confirmed = TaskDescription("fruit or animal?", (Example("fig", "fruit"),))
    assert find_choices(confirmed) == ("fruit", "animal")


def test_choice_is_described_by_tool_or_by_task() -> None:
    music, alarm = describe_choices(_tools("Pick.", "", "set_alarm"), NAMES)
    assert (music.text, music.meaning) == ("play_music", "play music (song): Plays a song.")
    assert (alarm.meaning, alarm.examples) == ("set alarm", ("input 0",))
    good, _ = describe_choices(TaskDescription("Say good or bad. Use good when it is nice."), ("good", "bad"))
    assert good.meaning == "good: Use good when it is nice."


def test_names_become_words() -> None:
    assert [in_words(name) for name in ("PlayMusic_2", "play_music-2", "__")] == ["play music 2", "play music 2", "__"]
