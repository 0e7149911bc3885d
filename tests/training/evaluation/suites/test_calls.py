"""Function calls of services that training never draws."""

from pathlib import Path

from training.data.families import Sources
from training.evaluation.scoring import parse_call
from training.evaluation.suites import Suite


def test_calls_are_of_unseen_services_and_their_answers_are_calls(suite_data: Path, suites: dict[str, Suite]) -> None:
    seen = {function.tool.name for function in Sources(suite_data).seen_functions}
    tasks = suites["calls-unseen"].tasks
    assert tasks
    for task in tasks:
        assert task.metric == "call"
        assert not task.choices
        assert not seen & {tool.name for tool in task.description.tools}
        for instance in task.instances:
            called = parse_call(instance.output)
            assert called is not None
            assert called[0] in {tool.name for tool in task.description.tools}
        asked = [instance.input for instance in task.instances]
        assert len(set(asked)) == len(asked)
        assert not set(asked) & {example.input for example in task.description.examples}
    assert {bool(task.description.examples) for task in tasks} == {False, True}
