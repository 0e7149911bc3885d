"""From tokens to text: character boundaries and stop strings."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.serving.text_assembler import TextAssembler


def assembled(pieces: list[bytes], stop: tuple[str, ...]) -> str:
    text = TextAssembler(stop)
    return "".join([*(text.push(piece) for piece in pieces), text.finish()])


@given(text=st.text(), cuts=st.lists(st.integers(0, 400)), stop=st.lists(st.text(min_size=1, max_size=4), max_size=3))
def test_text_does_not_depend_on_how_it_is_cut(text: str, cuts: list[int], stop: list[str]) -> None:
    """However the bytes are divided among tokens, the text ends before the stop string that is complete first."""
    data = text.encode("utf-8", "replace")
    bounds = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[start:end] for start, end in itertools.pairwise(bounds)]
    whole = data.decode()
    found = [(whole.find(each) + len(each), whole.find(each)) for each in stop if each in whole]
    assert assembled(pieces, tuple(stop)) == (whole[: min(found)[1]] if found else whole)


def test_stop_string_inside_another_is_complete_first() -> None:
    for pieces in ([b"xabcd"], [b"xabc", b"d"], [b"x", b"a", b"b", b"c", b"d"]):
        assert assembled(pieces, ("abcd", "bc")) == "xa"


def test_text_that_may_become_a_stop_string_is_held_back() -> None:
    text = TextAssembler(("END",))
    assert text.push(b"all E") == "all "
    assert text.push(b"N") == ""
    assert text.push(b"d") == "ENd"
    assert text.push(b"xEND and more") == "x"
    assert text.stopped
    assert text.push(b"ignored") == text.finish() == ""


def test_bytes_that_are_no_text_become_a_replacement_character() -> None:
    assert assembled([b"a", b"\xff", b"b"], ()) == "a�b"


@pytest.mark.parametrize("cut", range(1, 4))
def test_answer_never_ends_in_half_a_character(cut: int) -> None:
    """Where the longest answer ended, its last bytes say nothing yet."""
    assert assembled([b"a", "😀".encode()[:cut]], ()) == "a"
    assert assembled(["é".encode()[:1], "é".encode()[1:], b"E", "é".encode()[:1]], ("END",)) == "éE"
