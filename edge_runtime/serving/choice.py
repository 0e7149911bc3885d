"""Rule: which tokens may come next when an answer must be one of given texts.

It compares the bytes that tokens stand for, not the tokens that a tokenizer would cut the texts into: the model may
spell a text with any tokens. Logits and engines are left to others.
"""

from collections.abc import Iterable, Mapping, Sequence


class ChoiceGuide:
    """Follows one answer.

    Args:
        choices: The texts; one may be the beginning of another.
        tokens_of: Tokens by the bytes that each stands for.
        longest_token: Most bytes that one stands for.
    """

    def __init__(self, choices: Iterable[str], tokens_of: Mapping[bytes, Sequence[int]], longest_token: int) -> None:
        self._left = {choice.encode() for choice in choices}
        self._tokens_of, self._longest_token = tokens_of, longest_token

    @property
    def may_end(self) -> bool:
        """Whether the answer is one of the texts by now."""
        return b"" in self._left

    @property
    def must_end(self) -> bool:
        """Whether it is, and no other text goes on from here."""
        return self._left == {b""}

    def next_tokens(self) -> list[int]:
        """Tokens that continue one of the texts; none when no token fits, or every text is complete."""
        longest = self._longest_token
        beginnings = {left[:length] for left in self._left for length in range(1, min(len(left), longest) + 1)}
        return [token for beginning in beginnings for token in self._tokens_of.get(beginning, ())]

    def advance(self, piece: bytes) -> None:
        """Take the bytes of the token that was chosen."""
        self._left = {left[len(piece) :] for left in self._left if left.startswith(piece)}
