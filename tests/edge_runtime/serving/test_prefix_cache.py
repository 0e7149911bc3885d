"""Which place a prompt takes, and what it finds in the others."""

import pytest

from edge_runtime.serving.prefix_cache import (
    CHUNK,
    LATER_CHUNK,
    CachedSequence,
    best_source,
    choose_place,
    chunk,
    reusable_tokens,
    whole_chunks,
)

FIRST, SECOND = list(range(1_000)), list(range(5_000, 6_000))


def place(number: int, tokens: list[int], used: int = 0, is_busy: bool = False) -> CachedSequence:
    return CachedSequence(number, tokens, whole_chunks(len(tokens)), is_busy=is_busy, used=used)


@pytest.mark.parametrize("beginning", [0, 1, 20, 32, 47, 300, 399])
def test_prompts_are_cut_at_the_same_places_wherever_they_are_taken_up(beginning: int) -> None:
    tokens = list(range(1_000))
    cuts, at = [0], 0
    while at < len(tokens):
        at += len(chunk(tokens, at, beginning))
        cuts.append(at)
    assert beginning in cuts
    for count in range(1_000):
        assert whole_chunks(count, beginning) == max(cut for cut in cuts if cut <= count)
    assert max(len(chunk(tokens, cut, beginning)) for cut in cuts) <= LATER_CHUNK


def test_only_whole_chunks_are_used_again_and_never_the_last_token() -> None:
    cached = place(0, FIRST[:100])
    assert cached.reusable == 96
    for prompt, expected in (
        (FIRST[:200], 96),
        (FIRST[:97], 96),
        (FIRST[:96], 64),
        (FIRST[:33] + SECOND, 32),
        (FIRST[:31] + SECOND, 0),
        (SECOND, 0),
        (FIRST[:1], 0),
    ):
        assert reusable_tokens(cached, prompt) == expected
    assert reusable_tokens(CachedSequence(0, FIRST[:100], 0), FIRST) == 0, "an answer, or a prompt that was scored"


def test_system_message_is_used_again_as_a_whole() -> None:
    cached = CachedSequence(0, FIRST[:100], whole_chunks(100, 40), 40)
    assert cached.reusable == 72
    for prompt, beginning, expected in (
        (FIRST[:40] + SECOND, 40, 40),
        (FIRST[:200], 40, 72),
        (FIRST[:39] + SECOND, 39, 32),
        (FIRST[:200], 0, 32),
        (FIRST[:200], 70, 32),
    ):
        assert reusable_tokens(cached, prompt, beginning) == expected
    assert reusable_tokens(place(1, FIRST[:100]), FIRST[:200], 40) == 32, "cut in other places from there on"


def test_best_source_is_the_longest_and_may_be_busy() -> None:
    places = [place(0, FIRST[:64]), place(1, FIRST[:128], is_busy=True), place(2, SECOND)]
    assert best_source(places, FIRST, 0, more_than=0) == (places[1], 128)
    assert best_source(places, FIRST, 0, more_than=128) == (None, 128)
    assert best_source(places, SECOND[:65], 0, more_than=0) == (places[2], 64)


def test_prompt_that_goes_on_with_all_of_a_place_takes_it() -> None:
    """A conversation goes on in its place; another one that begins alike leaves it there."""
    conversation, other = place(0, FIRST[:192], used=5), place(1, SECOND[:64], used=1)
    assert choose_place([conversation, other], FIRST[:300]) is conversation
    assert choose_place([conversation, other], FIRST[:100] + SECOND) is other
    conversation.is_busy = True
    assert choose_place([conversation, other], FIRST[:300]) is other


def test_place_that_was_used_least_recently_gives_way() -> None:
    places = [place(0, FIRST[:64], used=3), place(1, SECOND[:64], used=2), CachedSequence(2)]
    assert choose_place(places, [7] * CHUNK) is places[2]
    places[2].is_busy = True
    assert choose_place(places, [7] * CHUNK) is places[1]
