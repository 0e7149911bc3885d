"""What a model reads that has to say what functions returned."""

import pytest

from edge_runtime.serving.chat import ChatMessage, FunctionCall
from edge_runtime.serving.results_in_words import INSTRUCTION, with_results_in_words

USER = ChatMessage("user", "Where is Zürich?")
CALLED = ChatMessage("assistant", "", (FunctionCall("find", '{"place": "Zürich"}'),))
SYSTEM = ChatMessage("system", INSTRUCTION)


def result(content: str) -> ChatMessage:
    return ChatMessage("tool", content, name="find")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("12 km", "12 km"),
        ('{"is_far": false, "km": 12.5, "road": null}', "is far: false, km: 12.5, road: null"),
        ('[{"at": "9:00", "with": {"name": "Eva"}}, {"at": "13:00"}]', "at: 9:00, with: (name: Eva); at: 13:00"),
        ('"Bern"', "Bern"),
        *((nothing, "none") for nothing in ("", '""', "[]", "{}")),
        ('{"rows": [], "note": "", "more": {}, "tags": [""]}', "rows: none, note: none, more: none, tags: none"),
        ('{"rows": [{"a": 1}, {"a": 2}], "total": 3}', "rows: (a: 1); (a: 2), total: 3"),
        ('{"tags": ["x", "y"], "grid": [[1, 2], [], [3]]}', "tags: x; y, grid: (1; 2); none; (3)"),
        ('[[{"a": 1}, {"a": 2}], 0]', "(a: 1; a: 2); 0"),
        ("[1.10, 1e3, 12345678901234567890.5, -0]", "1.10; 1e3; 12345678901234567890.5; -0"),
        ("9" * 5_000, "9" * 5_000),
        ("[0, false, null]", "0; false; null"),
        ('{"a": "\\ud800"}', '{"a": "\\ud800"}'),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_result_stands_behind_the_request_without_the_call(content: str, words: str) -> None:
    found = with_results_in_words([USER, CALLED, result(content)])
    assert found == [SYSTEM, ChatMessage("user", f"Where is Zürich?\n\nResult: {words}")]


def test_results_of_several_calls_stand_one_below_the_other() -> None:
    two = ChatMessage("assistant", "", CALLED.calls * 2)
    expected = [SYSTEM, ChatMessage("user", "Where is Zürich?\n\nResult: a\nResult: b")]
    assert with_results_in_words([USER, two, result("a"), result("b")]) == expected
    one_by_one = with_results_in_words([USER, CALLED, result("a"), CALLED, result("b")])
    assert one_by_one == [SYSTEM, ChatMessage("user", "Where is Zürich?\n\nResult: a\n\nResult: b")]


def test_earlier_results_stay_where_they_belong_and_ask_for_nothing() -> None:
    messages = [USER, CALLED, result("12 km"), ChatMessage("assistant", "It is near."), ChatMessage("user", "Thanks.")]
    assert with_results_in_words(messages) == [ChatMessage("user", "Where is Zürich?\n\nResult: 12 km"), *messages[3:]]


def test_instruction_stands_behind_the_clients_own() -> None:
    found = with_results_in_words([ChatMessage("system", "Be kind."), USER, CALLED, result("x")])
    assert found[0] == ChatMessage("system", f"Be kind.\n\n{INSTRUCTION}")


def test_text_beside_a_call_and_a_call_without_a_result_stay() -> None:
    beside = ChatMessage("assistant", "I look.", CALLED.calls)
    assert with_results_in_words([USER, beside, result("x")]) == [
        SYSTEM,
        USER,
        ChatMessage("assistant", "I look."),
        ChatMessage("user", "Result: x"),
    ]
    assert with_results_in_words([USER, CALLED, USER]) == [USER, CALLED, USER]
