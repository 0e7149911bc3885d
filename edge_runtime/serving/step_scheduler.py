"""Rule: what the engine computes next: what comes next of every answer, or a chunk of one prompt.

- Prompts that have just joined and those that go on take turns: the beginning of the one, a chunk of the other. So a
  short prompt waits only for the chunk that is being computed, and an endless row of them leaves long ones half of the
  time. Those that go on stand in a circle.
- While answers are being written, prompts get half of the time: after each chunk, answers run as long as it took.
- The beginning of a prompt does not wait for answers. So a short prompt reaches its first token soon, even while long
  answers are written. But beginnings get ahead of answers by a second at most: else an endless row of short prompts
  would stop them.
"""

from collections import deque
from typing import Generic, TypeVar

BEGINNING_TOKENS = 64
"""Length of a short prompt, or of the question that follows a cached beginning."""

MOST_AHEAD_SECONDS = 1.0

_PromptT = TypeVar("_PromptT")


class StepScheduler(Generic[_PromptT]):
    """Decides which prompt is computed next, if any."""

    def __init__(self) -> None:
        self._joined: deque[_PromptT] = deque()
        self._circle: deque[_PromptT] = deque()
        self._computed: dict[_PromptT, int] = {}
        self._joined_first = True
        self._owed_seconds = self._ahead_seconds = 0.0

    def join(self, prompt: _PromptT) -> None:
        """Add a prompt, behind those that joined before."""
        self._joined.append(prompt)
        self._computed[prompt] = 0

    def leave(self, prompt: _PromptT) -> None:
        """A prompt is complete, or not wanted any more."""
        computed = self._computed.pop(prompt, None)
        if computed is None:
            return
        if prompt in self._joined:
            self._joined.remove(prompt)
            self._joined_first = self._joined_first and not computed
        else:
            self._circle.remove(prompt)

    def next(self, answers_wait: bool) -> _PromptT | None:
        """The prompt that is computed next; None when the answers are.

        Args:
            answers_wait: Whether there are any.
        """
        if not answers_wait:
            self._owed_seconds = self._ahead_seconds = 0.0
        if self._ahead_seconds >= MOST_AHEAD_SECONDS:
            return None
        may_all = self._owed_seconds <= 0
        queues = (self._joined, self._circle) if self._joined_first else (self._circle, self._joined)
        waiting = (prompt for queue in queues for prompt in queue)
        return next((each for each in waiting if may_all or self._computed[each] < BEGINNING_TOKENS), None)

    def prompt_took(self, prompt: _PromptT, tokens: int, seconds: float) -> None:
        """A chunk of a prompt was computed."""
        if prompt not in self._computed:
            return
        if self._computed[prompt] >= BEGINNING_TOKENS:
            self._owed_seconds += seconds
        else:
            self._ahead_seconds += seconds
        self._computed[prompt] += tokens
        if prompt in self._circle:
            self._circle.remove(prompt)
            self._circle.append(prompt)
            self._joined_first = True
        elif self._computed[prompt] >= BEGINNING_TOKENS:
            self._joined.remove(prompt)
            self._circle.append(prompt)
            self._joined_first = False
        else:
            self._joined_first = True  # its beginning goes on

    def answers_took(self, seconds: float) -> None:
        """All answers went on."""
        self._owed_seconds = max(0.0, self._owed_seconds - seconds)
        self._ahead_seconds = max(0.0, self._ahead_seconds - seconds)
