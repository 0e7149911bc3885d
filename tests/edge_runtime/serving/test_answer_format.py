"""A whole answer is put together from its events."""

from edge_runtime.serving.answer_format import WholeAnswer
from edge_runtime.serving.chat import FunctionCall
from edge_runtime.serving.engine import Likelihood, Token
from edge_runtime.serving.events import ArgumentsPiece, CallFinished, CallStarted, Event, Finished, Started, TextPiece


def _whole(*events: Event) -> WholeAnswer:
    answer = WholeAnswer()
    for event in events:
        answer.add(event)
    return answer


def test_text_and_its_tokens_are_joined_in_order() -> None:
    tokens = [Token(piece, likelihood=Likelihood(piece, -1.0)) for piece in (b"a", b"b")]
    answer = _whole(
        Started(3, 0), TextPiece("a", 0, (tokens[0],)), TextPiece("b", 0, (tokens[1],)), Finished("stop", 2)
    )
    assert (answer.text, answer.tokens, answer.reason, answer.calls) == ("ab", tokens, "stop", [])


def test_call_that_the_end_cut_counts_as_no_whole_one() -> None:
    answer = _whole(
        CallStarted("find"),
        ArgumentsPiece('{"a"'),
        ArgumentsPiece(":1}"),
        CallFinished(),
        CallStarted("stop", number=1),
        ArgumentsPiece("{", number=1),
        Finished("length", 9),
    )
    assert answer.calls == [FunctionCall("find", '{"a":1}'), FunctionCall("stop", "{")]
    assert (answer.whole_calls, answer.reason) == (1, "length")
