"""Commands of the device's owner, over a Unix socket in the data directory: one line of JSON each way.

Only the owner of the data directory may connect (mode 0600); no port and no key are needed. What a command does to a
specialization is a rule (`updates.rules`); who carries it out is the updater, or, while no device runs, `act_on_state`.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from edge_runtime.errors import DigestMismatchError, EdgeError, OutputError, UpdateError
from edge_runtime.updates.disk import DataDirectory
from edge_runtime.updates.lock import locked
from edge_runtime.updates.rules import describe_outcome, state_after
from edge_runtime.updates.state import Command, DeviceState, StateFile
from loragen.contract.errors import ContractError

ANSWER_SECONDS = 30.0
"""How long the command line waits for its answer: a model may have to be loaded and checked."""

_LINE_BYTES = 65_536
_READ_SECONDS = 5.0
_COMMAND = TypeAdapter(Command)
_log = structlog.get_logger(__name__)


@asynccontextmanager
async def listening(path: Path, obey: Callable[[Command], Awaitable[str]]) -> AsyncIterator[None]:
    """Take commands at `path` while the block runs.

    A device that cannot have a socket (a disk that is read-only, a path that is too long) serves without, and logs why.

    Args:
        path: Where the socket is made; what an earlier process left there is replaced.
        obey: Carries a command out, and describes the outcome.
    """
    connected: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.add(asyncio.current_task())
        try:
            async with asyncio.timeout(_READ_SECONDS):
                line = await reader.readline()
            writer.write(json.dumps(await _answer(line, obey)).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError) as error:
            _log.debug("command_not_answered", reason=str(error))
        finally:
            writer.close()
            connected.discard(asyncio.current_task())

    try:
        server = await asyncio.start_unix_server(serve, sock=_bind(path), limit=_LINE_BYTES)
    except OSError as error:
        _log.warning("commands_not_taken", path=str(path), reason=error.strerror or str(error))
        yield
        return
    try:
        yield
    finally:
        server.close()
        left = [task for task in connected if task is not None]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        _remove(path)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _bind(path: Path) -> socket.socket:
    _remove(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        # Before anybody can connect, which takes listening.
        path.chmod(0o600)
    except BaseException:
        bound.close()
        raise
    return bound


async def _answer(line: bytes, obey: Callable[[Command], Awaitable[str]]) -> dict[str, str]:
    try:
        return {"message": await obey(_COMMAND.validate_json(line))}
    except (EdgeError, ContractError) as error:
        return {"code": error.code, "message": str(error), "hint": error.hint}
    except ValidationError as error:
        return {
            "code": "invalid_command",
            "message": str(error),
            "hint": "use the loragen-edge of the device's version",
        }
    except Exception:
        _log.exception("command_crashed")
        return {"code": "internal_error", "message": "the command failed", "hint": "the device's log says why"}


def send(path: Path, command: Command, answer_seconds: float = ANSWER_SECONDS) -> str:
    """Give a command to the device that listens at `path`, and wait for its answer.

    Raises:
        UpdateError: The device refuses, does not listen, or does not answer in time.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, connection.makefile("rb") as answer:
            connection.settimeout(answer_seconds)
            connection.connect(str(path))
            connection.sendall(json.dumps(asdict(command)).encode() + b"\n")
            line = answer.readline(_LINE_BYTES)
    except TimeoutError as error:
        raise UpdateError(
            f"the device has not answered within {answer_seconds:g} s",
            "it may still carry the command out: see loragen-edge status",
            code="no_answer",
        ) from error
    except OSError as error:
        raise UpdateError(
            f"the device takes no commands now: {error.strerror or error}",
            "while it starts or stops, try again; otherwise its log says why",
            code="not_ready",
        ) from error
    if not line:
        raise UpdateError("the device stopped before it answered", "give the command again", code="no_answer")
    reply: dict[str, str] = json.loads(line)
    if "code" in reply:
        raise UpdateError(reply["message"], reply["hint"], code=reply["code"])
    return reply["message"]


def act_on_state(disk: DataDirectory, command: Command) -> str:
    """Carry a command out while no device runs: it finds the changed state when it starts.

    Raises:
        UpdateError: The command cannot be carried out.
        ConfigurationError: A device runs after all.
        OutputError: The state cannot be written.
    """
    file = StateFile(disk.state)
    with locked(disk.root):
        state, _ = file.load()
        state = state or DeviceState(None, "default")
        after = state_after(command, state)
        entry = after.entries.get(command.name)
        if command.action != "accept" and entry and not disk.bundle(entry.active.bundle_id).exists():
            raise DigestMismatchError(f"{command.name}: bundle {entry.active.bundle_id} is not on disk")
        try:
            file.store(after)
        except OSError as error:
            raise OutputError(f"cannot write {disk.state.name}: {error.strerror or error}", "check the disk") from error
    return describe_outcome(command, after)
