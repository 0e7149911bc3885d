"""One text for a task: its layout, and what counts as the same task."""

from hypothesis import given
from hypothesis import strategies as st

from cloud_service.task import Example, TaskDescription, Tool, is_shown_in, render_prompt, residual_texts
from loragen.contract.answer import contract_of

TEXT = st.text(st.sampled_from("ab \t\n\r\v\x1c\u2028\u00a0.é"), max_size=12)
TASKS = st.builds(
    TaskDescription,
    description=TEXT,
    examples=st.lists(st.builds(Example, TEXT, TEXT), max_size=2).map(tuple),
    tools=st.lists(st.builds(Tool, TEXT, TEXT, st.just(("city",))), max_size=2).map(tuple),
    output_format=TEXT,
)


def test_prompt_holds_description_tools_examples_and_format_in_this_order() -> None:
    task = TaskDescription(
        description="Route the message.",
        examples=(Example("wake me at 7", "set_alarm"), Example("will it rain?", "get_weather")),
        tools=(
            Tool("set_alarm", "Sets an alarm.", ("time", "label")),
            Tool("get_weather", "Tells the weather."),
            Tool("stop", ""),
            Tool("play", "", ("song",)),
        ),
        output_format="the name of the tool",
    )
    assert render_prompt(task) == (
        "Route the message.\n"
        "\n"
        "Tools:\n"
        "- set_alarm(time, label): Sets an alarm.\n"
        "- get_weather: Tells the weather.\n"
        "- stop\n"
        "- play(song)\n"
        "\n"
        "Examples:\n"
        "Input: wake me at 7\n"
        "Output: set_alarm\n"
        "Input: will it rain?\n"
        "Output: get_weather\n"
        "\n"
        "Output format: the name of the tool"
    )


def test_empty_parts_are_left_out() -> None:
    assert render_prompt(TaskDescription("Translate.")) == "Translate."
    assert render_prompt(TaskDescription(" \n ", output_format="JSON")) == "Output format: JSON"
    assert render_prompt(TaskDescription("", examples=(Example("a", "b"),))) == "Examples:\nInput: a\nOutput: b"
    assert render_prompt(TaskDescription("")) == ""


def test_description_examples_and_format_may_be_kept_with_as_many_examples_as_fit() -> None:
    examples = (Example("a", "b"), Example(" c \n", "d"))
    task = TaskDescription(" Find the city. \n", examples, output_format="The name,\t\nin English.")
    assert residual_texts(task) == (
        "Find the city.\n\nInput: a\nOutput: b\nInput: c\nOutput: d\n\nThe name,\nin English.",
        "Find the city.\n\nInput: a\nOutput: b\n\nThe name,\nin English.",
        "Find the city.\nThe name,\nin English.",
    )
    assert residual_texts(TaskDescription("", examples[:1])) == ("Input: a\nOutput: b", "")
    assert residual_texts(TaskDescription("Find it.")) == ("Find it.",)
    assert residual_texts(TaskDescription("Route.", examples, tools=(Tool("stop", ""),))) == ()
    calls = contract_of({"type": "tool_calls", "functions": [{"name": "stop"}]})
    assert residual_texts(TaskDescription("Route.", examples, answer=calls)) == ()
    many = tuple(Example("x" * 500, str(n)) for n in range(64))
    assert [text.count("Output") for text in residual_texts(TaskDescription("Find it.", many))] == [3, 2, 1, 0]


def test_example_is_shown_where_it_stands_whole() -> None:
    text = residual_texts(TaskDescription("Find it.", (Example("a", "bc"),), output_format="JSON"))[0]
    assert is_shown_in(text, Example("a", "bc"))
    assert not is_shown_in(text, Example("a", "b"))
    assert not is_shown_in("Find it.", Example("a", "bc"))


def test_white_space_without_meaning_makes_no_other_task() -> None:
    """Ends of texts and of lines, and the layout of a tool's description; lines and indents inside a text stay."""
    loose = TaskDescription(
        "  Sort the list.  \r\n  - keep order \n\n",
        (Example(" 1 \n", "\t2"),),
        (Tool(" sort ", "Sorts\n   a list. "),),
        "JSON ",
    )
    tight = TaskDescription(
        "Sort the list.\n  - keep order", (Example("1", "2"),), (Tool("sort", "Sorts a list."),), "JSON"
    )
    assert loose.normalized() == tight
    assert hash(loose.normalized()) == hash(tight)
    assert render_prompt(loose) == render_prompt(tight)


def test_order_of_examples_and_tools_has_a_meaning() -> None:
    a, b = Tool("a", ""), Tool("b", "")
    assert TaskDescription("x", tools=(a, b)).normalized() != TaskDescription("x", tools=(b, a)).normalized()


def test_characters_that_end_lines_elsewhere_stay_inside_of_json() -> None:
    text = '{"a": "one\u2028two\x85three\x1ffour"}'
    task = TaskDescription("x", examples=(Example("a", text), Example("b", f"{text}\r\n \t\n{text}")))
    assert [each.output for each in task.normalized().examples] == [text, f"{text}\n\n{text}"]


@given(TASKS)
def test_normalizing_twice_changes_nothing(task: TaskDescription) -> None:
    once = task.normalized()
    assert once.normalized() == once
    assert render_prompt(once) == render_prompt(task)


def test_parameters_are_shown_with_types_values_and_notes() -> None:
    """And by their names alone where nothing else is known of them."""
    schema = (
        '{"properties":{"city":{"type":"string"},"unit":{"enum":["c","f"]},"days":{"anyOf":[{"type":"integer"},'
        '{"type":"null"}]},"tags":{"items":{"type":"string"},"type":"array"},"x":{}},"required":["city"],"type":"object"}'
    )
    tool = Tool("weather", "", ("city", "unit", "days", "tags", "x"), schema, (("city", "Name of the city."),))
    assert render_prompt(TaskDescription("", tools=(tool,))) == (
        "Tools:\n- weather(city: string (Name of the city.), unit?: c|f, days?: integer|null, tags?: string[], x?)"
    )
