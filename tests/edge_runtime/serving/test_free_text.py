"""Text ends by itself, at its greatest length, before a stop string, or where a call begins."""

from collections.abc import Sequence

import pytest

from edge_runtime.serving.engine import GREEDY, Likelihood, Sampling, Token
from edge_runtime.serving.events import TextPiece
from edge_runtime.serving.free_text import Written, write_text
from tests.edge_runtime.fakes import FakeEngine, FakeLoader, FakeSequence

LONG = 50


def _write(
    words: Sequence[bytes], stop: tuple[str, ...] = (), most: int = LONG, first: str = ""
) -> tuple[str, Written]:
    """What came in pieces, and how it ended."""
    writing = write_text(FakeSequence(FakeEngine(words, FakeLoader())), GREEDY, stop, most, 0, first)
    pieces = ""
    while True:
        try:
            event = next(writing)
        except StopIteration as end:
            return pieces, end.value
        if event is not None:
            pieces += event.text


@pytest.mark.parametrize(
    ("words", "stop", "most", "expected"),
    [
        ([b"one ", b"two"], (), LONG, Written("one two", 2, True)),
        ([b"one ", b"two"], (), 1, Written("one ", 1, False)),
        ([b"one ", b"t", b"wo ", b"three"], ("two",), LONG, Written("one ", 3, True, "two")),
        ([b"one t"], ("two",), LONG, Written("one t", 1, True)),
        ([b"\xe6\x9d", b"\xb1"], (), LONG, Written("東", 2, True)),
        ([], (), LONG, Written("", 0, True)),
    ],
)
def test_text_ends(words: list[bytes], stop: tuple[str, ...], most: int, expected: Written) -> None:
    pieces, written = _write(words, stop, most)
    assert written == expected
    assert pieces == expected.text, "nothing is taken back"


def test_text_that_begins_a_call_is_no_text() -> None:
    assert _write([b" \n", b"<to", b"ol>", b"{}"], first="<tool>") == ("", Written("", 3, True, "<tool>"))
    assert _write([b"<to", b" be"], first="<tool>") == ("<to be", Written("<to be", 2, True))
    assert _write([b"<to"], first="<tool>") == ("<to", Written("<to", 1, True))


def test_tokens_travel_with_the_text_that_they_make() -> None:
    class Likely(FakeEngine):
        def decode(self, sampling: Sampling, max_tokens: int):  # type: ignore[no-untyped-def]
            for piece in (b"\xe6\x9d", b"\xb1", b"!"):
                yield Token(piece, likelihood=Likelihood(piece, -0.5))

    events = [*write_text(FakeSequence(Likely([], FakeLoader())), GREEDY, (), LONG, 3)]
    assert [(event.text, len(event.tokens), event.index) for event in events if isinstance(event, TextPiece)] == [
        ("東", 2, 3),
        ("!", 1, 3),
    ]
