"""The shortest way to an answer, for the two most frequent requests.

- The same body of `POST /generate-lora` again: its answer, bytes and all, is remembered for a few seconds after the
  store gave it. Nothing of an answer can change meanwhile: a recipe that was found lives for a minute at least, unless
  somebody deletes it. Then this replica forgets; another may answer with the id for those few seconds.
- A poll of a channel that has not changed: 304, by the channel's entity tag alone.

And to a refusal: a request for which there is no room, and no answer in the store, goes no further than this.

Everything else goes the whole way through the framework. What a caller may do was asked before (`access_gate`), and
answers are remembered for each tenant apart, so none learns what another has asked for.
"""

import re
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud_service.access.caller import current_caller
from cloud_service.http.conditional import is_known
from loragen.contract.names import NAME_PATTERN
from loragen.web.headers import find_header
from loragen.web.scope import record_of

GENERATE_PATH = "/generate-lora"

_CHANNEL = re.compile(f"/channels/({NAME_PATTERN.strip('^$')})")

_FRESH_SECONDS = 3.0
"""After this the store is asked again. It is a small part of the shortest time for which a store keeps a recipe."""

_MOST_BYTES = 32 * 1024 * 1024
_MOST_ANSWER_BYTES = 256 * 1024
_ENTRY_BYTES = 1_024
"""What an entry takes besides the answer, about."""


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """An answer of `POST /generate-lora`, but for the time that it took.

    Attributes:
        before: Its bytes before the number of milliseconds.
        after: Its bytes behind it.
        logged: What joins the request's record in the log.
    """

    before: bytes
    after: bytes
    logged: dict[str, Any]

    @property
    def size(self) -> int:
        """Memory that it takes, about."""
        return len(self.before) + len(self.after) + _ENTRY_BYTES


class AnswerMemory:
    """Answers by what was asked, the most recently used ones, under a budget of bytes.

    Args:
        now: Seconds of a clock that is never set.
        most_bytes: Of all of them.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, most_bytes: int = _MOST_BYTES) -> None:
        self._now = now
        self._left = most_bytes
        self._answers: OrderedDict[bytes, tuple[float, KnownAnswer]] = OrderedDict()
        self._deletions: Counter[str] = Counter()

    def find(self, asked: bytes) -> KnownAnswer | None:
        """The answer, while it is fresh."""
        found = self._answers.get(asked)
        if found is None:
            return None
        if found[0] <= self._now():
            self._forget(asked)
            return None
        self._answers.move_to_end(asked)
        return found[1]

    def remember(self, asked: bytes, answer: KnownAnswer) -> None:
        """Remember an answer that the store has just given; one that is too long is not."""
        self._forget(asked)
        if answer.size > _MOST_ANSWER_BYTES:
            return
        self._answers[asked] = (self._now() + _FRESH_SECONDS, answer)
        self._left -= answer.size
        while self._left < 0:
            self._forget(next(iter(self._answers)))

    def forget_all(self, tenant: str) -> None:
        """Give no answer again that was asked for before, by a tenant; by anybody if that is the operator."""
        self._deletions[tenant] += 1

    def age(self, tenant: str) -> str:
        """What a tenant's requests are remembered by, besides themselves."""
        return f"{self._deletions['']}/{self._deletions[tenant]}"

    def _forget(self, asked: bytes) -> None:
        if (found := self._answers.pop(asked, None)) is not None:
            self._left += found[1].size


class KnownAnswers:
    """ASGI middleware behind all gates.

    Args:
        app: What answers everything else.
        memory: What the route of `POST /generate-lora` remembers.
        answered: Called for each answer from the memory.
        find_digest: The digest of a channel; None while a rollout goes on there.
        cache_control: Of polls.
        verify_room: Raises the error for a body of `POST /generate-lora` for which there is no room now.
    """

    def __init__(
        self,
        app: ASGIApp,
        memory: AnswerMemory,
        answered: Callable[[], None],
        find_digest: Callable[[str], Any],
        cache_control: str,
        verify_room: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self._app = app
        self._memory = memory
        self._answered = answered
        self._find_digest = find_digest
        self._cache_control = cache_control.encode("ascii")
        self._verify_room = verify_room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["method"] == "POST" and scope["path"] == GENERATE_PATH:
                await self._generate(scope, receive, send)
                return
            if scope["method"] == "GET" and await self._answer_poll(scope, send):
                return
        await self._app(scope, receive, send)

    async def _generate(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        message = await receive()  # the gate before this one hands on the whole body
        body = message.get("body", b"")
        asked = _asked(scope, body, self._memory.age(current_caller().tenant))
        known = self._memory.find(asked)
        if known is None:
            await self._verify_room(body)
            scope["state"]["asked"] = asked
            await self._app(scope, _first(message, receive), send)
            return
        record_of(scope).logged |= known.logged
        self._answered()
        milliseconds = b"%.3f" % ((time.perf_counter() - started) * 1000)
        answer = known.before + milliseconds + known.after
        headers = [
            (b"content-length", b"%d" % len(answer)),
            (b"content-type", b"application/json"),
            (b"cache-control", b"no-store"),
            (b"vary", b"accept"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _answer_poll(self, scope: Scope, send: Send) -> bool:
        match = _CHANNEL.fullmatch(scope["path"])
        wanted = None if match is None else find_header(scope, b"if-none-match")
        if match is None or wanted is None or find_header(scope, b"if-match") is not None:
            return False
        digest = await self._find_digest(match[1])
        if digest is None or not is_known(etag := f'"{digest}"', wanted):
            return False
        headers = [(b"etag", etag.encode("ascii")), (b"cache-control", self._cache_control)]
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return True


def asked_of(scope: Scope) -> bytes:
    """What a request of `POST /generate-lora` is remembered by."""
    asked: bytes = scope["state"]["asked"]
    return asked


def _asked(scope: Scope, body: bytes, age: str) -> bytes:
    """Everything that the answer follows from, in short."""
    parts = [
        age,
        current_caller().tenant,
        find_header(scope, b"accept") or "",
        find_header(scope, b"content-type") or "",
    ]
    digest = sha256()
    for part in (*(part.encode() for part in parts), scope["query_string"]):
        digest.update(len(part).to_bytes(4, "little") + part)
    digest.update(body)
    return digest.digest()


def _first(message: Message, receive: Receive) -> Receive:
    waiting: list[Message] = [message]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
