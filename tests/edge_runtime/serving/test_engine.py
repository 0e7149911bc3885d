"""How many tokens a choice takes at most, which no greatest length of an answer cuts."""

from edge_runtime.serving.engine import Sampling


def test_choice_takes_a_token_for_each_byte_at_most() -> None:
    assert Sampling(choices=("no", "größer")).longest_choice == len("größer".encode())
    assert Sampling(choices=("no", "yes"), codes=(5, 6)).longest_choice == 0, "one token, which nothing spells"
    assert Sampling().longest_choice == 0
