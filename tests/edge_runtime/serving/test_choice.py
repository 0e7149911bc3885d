"""Which tokens may come next when the answer is one of given texts."""

from typing import Any

from edge_runtime.serving.choice import ChoiceGuide

TOKENS_OF = {b"p": [1], b"pos": [2, 3], b"itive": [4], b"neg": [5], b"negative": [6], b"x": [7], b"\xc3": [8]}
LONGEST = 8


def test_only_beginnings_of_what_is_left_may_follow() -> None:
    guide = ChoiceGuide(["positive", "negative"], TOKENS_OF, LONGEST)
    assert set(guide.next_tokens()) == {1, 2, 3, 5, 6}
    guide.advance(b"pos")
    assert guide.next_tokens() == [4]
    assert not guide.may_end
    guide.advance(b"itive")
    assert guide.must_end
    assert guide.next_tokens() == []


def test_text_that_begins_another_may_end_or_go_on() -> None:
    guide = ChoiceGuide(["pos", "positive"], TOKENS_OF, LONGEST)
    guide.advance(b"pos")
    assert guide.may_end
    assert not guide.must_end
    assert guide.next_tokens() == [4]


def test_token_may_be_a_part_of_a_character() -> None:
    guide = ChoiceGuide(["été"], TOKENS_OF, LONGEST)
    assert guide.next_tokens() == [8]


def test_text_that_no_token_spells_leaves_nothing() -> None:
    guide = ChoiceGuide(["zebra"], TOKENS_OF, LONGEST)
    assert guide.next_tokens() == []
    assert not guide.may_end


def test_no_more_of_a_text_is_looked_at_than_a_token_can_spell() -> None:
    """Long texts, and many, must not hold up the device."""
    asked: list[bytes] = []

    class Watched(dict[bytes, list[int]]):
        def get(self, key: bytes, default: object = None) -> Any:
            asked.append(key)
            return super().get(key, default)

    ChoiceGuide(["negative" * 100], Watched(TOKENS_OF), LONGEST).next_tokens()
    assert max(map(len, asked)) == LONGEST
