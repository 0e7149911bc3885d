"""Whether greedy decoding gives an answer where a device holds it to a pattern. Nothing is decoded for it.

At each token of the expected answer the model would rather write some others. The answer is given exactly when the
device lets it write none of them: none is the beginning of another text that the pattern takes. One that spells the
same text in other tokens makes no other answer. What is a part of a character counts as a character of its own.
"""

import regex
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from cloud_service.generator.chat_format import answer_ids, answer_spans

_MOST_SECONDS = 0.2
"""For one look at a text: some patterns of clients take for ever."""


class HeldDecoding:
    """Compares answers with what greedy decoding under a pattern gives.

    Args:
        tokenizer: Of the edge model.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._line = answer_ids(tokenizer, "\n")[:-1]
        self._pieces: dict[int, str] = {}
        added = {token for token, each in tokenizer.added_tokens_decoder.items() if each.special}
        self._special = added.union(tokenizer.all_special_ids)

    def gives(self, text: str, logits: Tensor, pattern: "regex.Pattern[str]") -> bool:
        """Whether greedy decoding gives a text and ends there.

        Args:
            text: The answer.
            logits: (answer tokens, vocabulary) float32, those that predict each token of the answer and its end.
            pattern: What the device lets the model write.
        """
        targets, spans = answer_ids(self._tokenizer, text), answer_spans(self._tokenizer, text)
        try:
            if pattern.fullmatch(text, timeout=_MOST_SECONDS) is None:
                return False
            for place, target in enumerate(targets):
                likelier = (logits[place] > logits[place, target]).nonzero()[:, 0].tolist()
                if not likelier:
                    continue
                is_end = place == len(spans)
                if not is_end and place and spans[place] == spans[place - 1]:
                    return False  # a part of a character: which others there are is not looked at
                if self._writes_another(likelier, text, len(text) if is_end else spans[place][0], pattern):
                    return False
            return True
        except TimeoutError:
            return False

    def _writes_another(self, likelier: list[int], text: str, at: int, pattern: "regex.Pattern[str]") -> bool:
        """Whether any of some tokens, at a place of the text, begins another answer; all that end one are alike."""
        before, special, begins = text[:at], self._special, dict[str, bool]()
        if at < len(text) and not special.isdisjoint(likelier) and pattern.fullmatch(before, timeout=_MOST_SECONDS):
            return True
        self._read([token for token in likelier if token not in self._pieces and token not in special])
        for token in likelier:
            if token in special or text.startswith(piece := self._pieces[token], at):
                continue
            first = piece[:1]
            if first not in begins:
                begins[first] = _may_begin(before + first, pattern)
            if begins[first] and (len(piece) < 2 or _may_begin(before + piece, pattern)):
                return True
        return False

    def _read(self, tokens: list[int]) -> None:
        """Keep the text of each token as it stands inside of a line."""
        backend = self._tokenizer.backend_tokenizer
        head = len(backend.decode(self._line, skip_special_tokens=False))
        texts = backend.decode_batch([[*self._line, token] for token in tokens], skip_special_tokens=False)
        self._pieces |= {token: text[head:] for token, text in zip(tokens, texts, strict=True)}


def _may_begin(text: str, pattern: "regex.Pattern[str]") -> bool:
    return pattern.fullmatch(text, partial=True, timeout=_MOST_SECONDS) is not None
