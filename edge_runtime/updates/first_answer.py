"""The first answer, the last check of a loaded slot before it serves: it must come in time, of finite numbers.

Its text does not matter: a model that routes tools may rightly answer an unrelated prompt with nothing. So it is not
held to the answer contract, under which it might end at the first token. What was never loaded before is tried in a
process of its own first (`updates.canary`).
"""

import asyncio
from collections.abc import Callable

from edge_runtime.errors import BusyError, CanaryError, CanaryUnfinishedError, MergeCancelledError, ServingError
from edge_runtime.serving.completion import CompletionRequest, TextPrompt
from edge_runtime.serving.engine import GREEDY
from edge_runtime.serving.events import Finished
from edge_runtime.serving.slots import Revision, Slot, SlotTable
from edge_runtime.updates.reading import reading_seconds

FIRST_TOKENS = 8
"""Each is a pass through all layers; a NaN may appear only after the first pass."""

FIRST_ANSWER_SECONDS = 60.0
"""A slot that takes longer for eight tokens is of no use, beside the time that its files take to be read."""

_REQUEST = CompletionRequest(TextPrompt("The weather today is"), GREEDY, FIRST_TOKENS, constrain=False)


async def verify_answers(slot: Slot, limit_seconds: float = FIRST_ANSWER_SECONDS) -> None:
    """Let a prepared slot answer.

    Raises:
        CanaryError: It failed; the same files would fail again.
        CanaryUnfinishedError: It took too long, or was closed meanwhile.
    """
    name = slot.revision.fingerprint
    limit_seconds += await asyncio.to_thread(reading_seconds, slot.revision.files)
    try:
        job = slot.worker.submit(_REQUEST)
        try:
            async with asyncio.timeout(limit_seconds):
                events = [event async for event in job.events()]
        finally:
            job.cancel()
    except BusyError as error:
        raise CanaryUnfinishedError(f"{name}: the new slot is being closed") from error
    except ServingError as error:
        raise CanaryError(f"{name}: {error}", error.hint) from error
    except TimeoutError as error:
        raise CanaryUnfinishedError(
            f"{name}: no answer of {FIRST_TOKENS} tokens within {limit_seconds:g} s", "is the device overloaded?"
        ) from error
    if not events or not isinstance(events[-1], Finished):
        raise CanaryError(f"{name}: the answer has no end")


async def serve(slots: SlotTable, revision: Revision, is_wanted: Callable[[], bool] = lambda: True) -> None:
    """Load a revision, let it answer, and let it serve.

    Args:
        slots: Where it serves.
        revision: What is loaded.
        is_wanted: Asked once it has answered.

    Raises:
        ModelLoadError, UpdateError: It does not work.
        MergeCancelledError: It is no longer wanted.
    """
    slot = await slots.prepare(revision)
    try:
        await verify_answers(slot)
        if not is_wanted():
            raise MergeCancelledError(f"{revision.name} was replaced meanwhile")
    except BaseException:
        await slots.discard(slot)
        raise
    slots.activate(slot)
