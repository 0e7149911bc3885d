"""The answers in which a tool's name may stand."""

from cloud_service.answer.tool_choices import answers_of, choices_of_tools
from cloud_service.task import TaskDescription, Tool

TASK = TaskDescription("Pick.", tools=(Tool("a", ""), Tool("b", "")), output_format='{"tool": "<name>"}')


def test_name_stands_by_itself_or_under_a_key() -> None:
    assert list(answers_of(TASK, "a")) == ["a", '{"tool": "a"}', '{"tool":"a"}']
    assert next(iter(choices_of_tools(TASK))) == ('{"tool": "a"}', '{"tool": "b"}')
