"""Rule: when the bytes of tokens are certain text.

Bytes become text only at character boundaries. Text is sent only when it can no longer be the beginning of a stop
string.
"""

import codecs
from collections.abc import Sequence


class TextAssembler:
    """Puts together the text of one answer.

    Attributes:
        stopped: A stop string was met; whatever follows is dropped.
        met: That string; empty before.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = [text for text in stop if text]
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._pending = ""
        self.stopped = False
        self.met = ""

    def push(self, piece: bytes) -> str:
        """Take the bytes of one token; return the text that is now certain, which may be none."""
        return self._release(self._decoder.decode(piece), last=False)

    def finish(self) -> str:
        """Return the rest of the text, at the end of the answer."""
        # What the decoder still has is the beginning of a character: the answer was cut there.
        return self._release("", last=True)

    def _release(self, text: str, last: bool) -> str:
        if self.stopped:
            return ""
        self._pending += text
        # The stop string that is complete first counts, so that the result does not depend on the cut into tokens.
        found = [(at + len(stop), at, stop) for stop in self._stop if (at := self._pending.find(stop)) >= 0]
        if found:
            _, at, self.met = min(found)
            self.stopped = True
            return self._take(at)
        return self._take(len(self._pending) - (0 if last else self._possible_stop()))

    def _possible_stop(self) -> int:
        """Length of the longest end of the pending text with which a stop string begins."""
        longest = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(self._pending)), longest, -1):
                if self._pending.endswith(stop[:length]):
                    longest = length
                    break
        return longest

    def _take(self, length: int) -> str:
        text, self._pending = self._pending[:length], self._pending[length:]
        return text
