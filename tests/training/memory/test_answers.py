"""Closed sets as a trie, and losses that padding does not change."""

import pytest
import torch

from tests.training.memory.small import small_models
from training.memory.answers import Choice, Row, find_choices, make_batches, make_row, score
from training.memory.edge import SplitEdge

MEMBERS = ((5, 6, 9), (5, 7, 8, 9), (5, 7, 9), (4, 9))


def test_choices_are_where_members_part_the_right_token_first() -> None:
    assert find_choices((5, 7, 9), MEMBERS) == (Choice(0, (5, 4)), Choice(1, (7, 6)), Choice(2, (9, 8)))
    assert find_choices((4, 9), MEMBERS) == (Choice(0, (4, 5)),)


def test_a_set_of_one_leaves_nothing_to_choose() -> None:
    assert find_choices((5, 9), [(5, 9)]) == ()


def test_a_row_that_is_chosen_ends_with_its_last_choice() -> None:
    words = small_models().edge_tokenizer
    chosen = make_row(words, "hi", "ab", ("ab", "cd"), plain=False)
    assert len(chosen.ids) == chosen.prefix
    assert len(make_row(words, "hi", "ab", ("ab", "cd")).ids) == chosen.prefix + len(chosen.answer) - 1


def states_of(edge: SplitEdge, ids: torch.Tensor) -> torch.Tensor:
    return edge.upper(edge.lower(ids), None)


def test_the_closed_loss_is_a_softmax_over_members_likelihoods_where_they_part() -> None:
    edge = SplitEdge(small_models().edge, 1)
    row = Row((3, 8, 5, 7), 2, (5, 7, 9), find_choices((5, 7, 9), MEMBERS), True)
    (batch,) = make_batches([row], [0], 100)
    logits = (states_of(edge, torch.tensor([row.ids])) @ edge.embedding.T)[0]

    def normal(place: int, tokens: list[int]) -> torch.Tensor:
        likelihoods = logits[place].softmax(-1)[tokens]
        return (likelihoods / likelihoods.sum()).log()[0]

    by_hand = -(normal(1, [5, 4]) + normal(2, [7, 6]) + normal(3, [9, 8]))
    scored = score(states_of(edge, batch.ids), batch, edge.embedding)
    assert scored.closed.item() == pytest.approx(by_hand.item(), rel=1e-4)
    plain = -sum(logits[1 + n].log_softmax(-1)[token] for n, token in enumerate(row.answer)) / 3
    assert scored.plain.item() == pytest.approx(float(plain), rel=1e-4)
    assert scored.loss.item() == scored.closed.item()


def test_padding_does_not_change_a_rows_score() -> None:
    edge = SplitEdge(small_models().edge, 1)
    short = Row((3, 8), 2, (5, 9), find_choices((5, 9), [(5, 9), (6, 9)]), False)
    long = Row(tuple(range(3, 40)), 30, tuple(range(33, 41)), (), True)
    scores = {}
    for rows in ([short], [short, long]):
        (batch,) = make_batches(rows, range(len(rows)), 1000)
        scores[len(rows)] = score(states_of(edge, batch.ids), batch, edge.embedding)
    assert scores[1].closed[0].item() == pytest.approx(scores[2].closed[0].item(), rel=1e-4)
    assert scores[2].closed[1].isnan()
    assert scores[2].plain[0].isnan()


def test_batches_hold_at_most_so_many_tokens() -> None:
    rows = [Row((1,) * n, n, (2,), (), True) for n in (3, 9, 4, 8)]
    batches = make_batches(rows, range(4), 10)
    assert [batch.ids.numel() for batch in batches] == [8, 8, 9]
