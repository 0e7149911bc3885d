"""What a task says of each choice."""

from cloud_service.answer.choices import as_choice, bare_labels, chosen_option, describe_choices, in_words
from cloud_service.task import Example, TaskDescription, Tool

TOOLS = (Tool("play_music", "Plays a song.", ("song",)), Tool("set_alarm", ""))
NAMES = ("play_music", "set_alarm")


def test_choice_is_described_by_tool_or_by_task() -> None:
    task = TaskDescription("Pick.", (Example("input 0", "set_alarm"),), TOOLS)
    music, alarm = describe_choices(task, NAMES)
    assert (music.text, music.meaning) == ("play_music", "play music (song): Plays a song.")
    assert (alarm.meaning, alarm.examples) == ("set alarm", ("input 0",))
    good, _ = describe_choices(TaskDescription("Say good or bad. Use good when it is nice."), ("good", "bad"))
    assert good.meaning == "good: Use good when it is nice."


def test_example_of_a_call_belongs_to_its_function() -> None:
    call = Example("Play it again", '{"name": "play_music", "arguments": {"song": "it"}}')
    music, alarm = describe_choices(TaskDescription("Call.", (call,), TOOLS), NAMES)
    assert (music.examples, alarm.examples) == (("Play it again",), ())


def test_example_of_several_calls_belongs_to_the_first() -> None:
    """A code stands for the first of several calls."""
    calls = '{"name": "set_alarm", "arguments": {}}\n{"name": "play_music", "arguments": {"song": "it"}}'
    task = TaskDescription("Call.", (Example("Wake me with it", calls),), TOOLS)
    music, alarm = describe_choices(task, NAMES)
    assert (music.examples, alarm.examples) == ((), ("Wake me with it",))
    assert chosen_option(calls, NAMES) == 1
    assert chosen_option(f"play_music\n{calls}", NAMES) is None


def test_names_become_words() -> None:
    assert [in_words(name) for name in ("PlayMusic_2", "play_music-2", "__")] == ["play music 2", "play music 2", "__"]


def test_choices_that_are_json_are_described_by_what_tells_them_apart() -> None:
    choices = ('{"v": 1, "at": {"label": "spam"}}', '{"v": 1, "at": {"label": "ham"}}')
    assert bare_labels(choices) == ["spam", "ham"]
    described = describe_choices(TaskDescription("Write spam for advertisements. Sort."), choices)
    assert [choice.meaning for choice in described] == ["spam: Write spam for advertisements.", "ham"]
    for others in (("spam", "ham"), ("1", "2"), ('{"a": "x", "b": "y"}', '{"a": "z", "b": "w"}'), ("{}", '{"a": "x"}')):
        assert bare_labels(others) == others


def test_output_is_a_choice_however_its_json_is_written() -> None:
    choices = ('{"a": 1, "label": "spam"}', "ham")
    assert as_choice('{"label":"spam","a":1}', choices) == choices[0]
    assert as_choice(" ham ", choices) == "ham"
    for output in ("spam", '{"label":"spam"}', "[" * 5_000):
        assert as_choice(output, choices) == output
