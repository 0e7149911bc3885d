"""Fields of forms: people's ways to write pairs, labels, numbers and tools, and what is refused by its name."""

import json

import pytest

from cloud_service.errors import InvalidRequestError
from cloud_service.fleet.bodies import RollbackBody
from cloud_service.http.console.forms import as_seen, body_of, labels_of, number_of, pairs_of, tools_of


def test_channel_is_as_its_page_showed_it() -> None:
    assert as_seen({"digest": "a"})("a", True)
    assert not as_seen({"digest": "a"})("b", True)
    assert not as_seen({"digest": ""})("b", False), "a page that showed no channel"
    assert as_seen({})("b", True), "a form that shows no channel"


def test_body_that_is_none_names_its_field() -> None:
    assert body_of(RollbackBody, version=3).version == 3
    with pytest.raises(InvalidRequestError, match="version"):
        body_of(RollbackBody, version=0)


def test_number_is_finite() -> None:
    assert number_of({"percent": " 2.5"}, "percent") == 2.5
    for text in ("", "x", "nan", "inf"):
        with pytest.raises(InvalidRequestError, match="percent: expected a number"):
            number_of({"percent": text}, "percent")
    with pytest.raises(InvalidRequestError):
        number_of({}, "percent")


def test_labels_are_pairs() -> None:
    assert labels_of({"labels": "ring=canary"}) == {"ring": "canary"}
    assert labels_of({}) == {}
    with pytest.raises(InvalidRequestError):
        labels_of({"labels": "ring"})


def test_pairs_have_an_arrow_in_each_line() -> None:
    assert pairs_of({"examples": "a => b\n\n c=>d => e "}, "examples") == [
        {"input": "a", "output": "b"},
        {"input": "c", "output": "d => e"},
    ]
    assert pairs_of({}, "examples") == []
    with pytest.raises(InvalidRequestError, match="examples: expected INPUT => OUTPUT in line 2"):
        pairs_of({"examples": "a => b\nc"}, "examples")


def test_pairs_may_be_json_and_a_line_may_begin_with_a_bracket() -> None:
    listed = [{"input": "two\nlines", "output": "b"}]
    assert pairs_of({"examples": json.dumps(listed)}, "examples") == listed
    assert pairs_of({"examples": "[urgent] help => yes"}, "examples") == [{"input": "[urgent] help", "output": "yes"}]
    with pytest.raises(InvalidRequestError):
        pairs_of({"examples": "[" * 100_000}, "examples")


@pytest.mark.parametrize("text", ['[{"name": "a"}]', '{"name": "a"}', '{"tools": [{"name": "a"}]}'])
def test_tools_are_an_array_one_tool_or_a_whole_request(text: str) -> None:
    assert tools_of({"tools": text}) == [{"name": "a"}]


@pytest.mark.parametrize("text", ["name: a", "3", '{"tools": 3}', "[" * 100_000])
def test_tools_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="tools: expected"):
        tools_of({"tools": text})
