"""One request on its way from the event loop to a worker's thread and back."""

import asyncio
import threading
from collections.abc import AsyncIterator

from edge_runtime.errors import ServingError
from edge_runtime.serving.completion import CompletionRequest
from edge_runtime.serving.events import ArgumentsPiece, CallFinished, CallStarted, Event, TextPiece


class CompletionJob:
    """A request and its events. Iterate them once; `cancel` it when its client is gone.

    Args:
        request: What is asked for.
        deadline: Monotonic seconds until which it must have begun.
        is_streamed: Each piece of an answer is wanted at once. Otherwise those behind the first come with the answer's
            end: to wake the loop for each takes a thirtieth of a small model's time.
        client: Who asks, as far as it is known.
    """

    def __init__(self, request: CompletionRequest, deadline: float, is_streamed: bool = True, client: str = "") -> None:
        self.request = request
        self.deadline = deadline
        self.client = client
        self._is_streamed = is_streamed
        self._has_begun = False
        self._held: list[Event | ServingError | None] = []
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event | ServingError | None] = asyncio.Queue()
        self._cancelled = threading.Event()

    @property
    def answers(self) -> int:
        """How many answers it has."""
        return self.request.answers_in_all

    def cancel(self) -> None:
        """Abandon the job; it ends before the next step of the engine."""
        self._cancelled.set()

    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def put(self, event: Event | ServingError | None) -> None:
        """Hand an event to the loop, or keep it for the next; None is the end. Called from the worker's thread."""
        self._held.append(event)
        is_piece = isinstance(event, TextPiece | CallStarted | ArgumentsPiece | CallFinished)
        if is_piece and self._has_begun and not self._is_streamed:
            return
        self._has_begun = self._has_begun or is_piece
        held, self._held = self._held, []
        try:
            self._loop.call_soon_threadsafe(self._deliver, held)
        except RuntimeError:  # the loop is closed: nobody can be reading
            self.cancel()

    def end(self, error: ServingError | None = None) -> None:
        """Hand over the end, early when there is an error."""
        if error is not None:
            self.put(error)
        self.put(None)

    def _deliver(self, events: list[Event | ServingError | None]) -> None:
        for event in events:
            self._events.put_nowait(event)

    async def events(self) -> AsyncIterator[Event]:
        """The job's events.

        Raises:
            ServingError: Whatever ended the job early.
        """
        while (event := await self._events.get()) is not None:
            if isinstance(event, ServingError):
                raise event
            yield event
