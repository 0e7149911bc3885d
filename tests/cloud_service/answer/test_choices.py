"""What a task says of each choice."""

from cloud_service.answer.choices import describe_choices, in_words
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


def test_names_become_words() -> None:
    assert [in_words(name) for name in ("PlayMusic_2", "play_music-2", "__")] == ["play music 2", "play music 2", "__"]
