"""Text ends by itself, at its greatest length, before a stop string, or where a call begins."""

from collections.abc import Generator, Sequence

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
    return _finished(write_text(FakeSequence(FakeEngine(words, FakeLoader())), GREEDY, stop, most, 0, first))


def _finished(writing: Generator[TextPiece | None, None, Written]) -> tuple[str, Written]:
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


def test_json_that_was_closed_in_time_is_not_whole() -> None:
    """It is JSON, and may end there; but the model would have gone on."""

    class Closing(FakeEngine):
        def decode(self, sampling: Sampling, max_tokens: int):  # type: ignore[no-untyped-def]
            yield Token(b'["a')
            yield Token(b'"', was_cut=True)
            yield Token(b"]", may_end=True, was_cut=True)

    assert _finished(write_text(FakeSequence(Closing([], FakeLoader())), GREEDY, (), LONG, 0))[1] == Written(
        '["a"]', 3, False
    )


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
