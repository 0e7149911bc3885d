"""The state of a device over a restart: what serves under each name, what served before, and what failed. JSON on disk.

Rules:
- A write is whole or not at all, and the state before it stays beside it.
- A file that cannot be read is moved aside. It is never deleted, and never trusted in part.
- The state of another edge model is set aside until that model is back.

What to do about a state that was lost is decided by the coordinators.
"""

import errno
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError, with_config

from edge_runtime.errors import StateError
from edge_runtime.gguf.quantization import Quantization
from loragen.contract.atomic import write_atomic
from loragen.contract.errors import ContractError
from loragen.contract.names import verify_digest, verify_name

STATE_FORMAT: Literal[1] = 1
MAX_STATE_BYTES = 16 * 1024 * 1024
"""1,024 specializations of at most 16 KB."""

_strict = with_config(ConfigDict(extra="forbid", strict=True))

Action = Literal["rollback", "pin", "unpin", "accept"]

InstalledState = Literal["adapter", "merged"]

# Names and digests become parts of paths.
PathName = Annotated[str, AfterValidator(verify_name)]
PathDigest = Annotated[str, AfterValidator(verify_digest)]


@_strict
@dataclass(frozen=True, slots=True)
class MergeSummary:
    """What a merge reported.

    Attributes:
        quantization: Type that was asked for.
        strategy: How the touched tensors were stored.
        retained_delta: Smallest retained delta of a tensor.
        retained_delta_mean: Mean over the tensors.
        agreement: Of the merged model with the adapter that it replaced, as the canary found it; None when there was
            no adapter to compare with.
    """

    quantization: Quantization
    strategy: str
    seconds: float
    retained_delta: float
    retained_delta_mean: float
    agreement: float | None = None


@_strict
@dataclass(frozen=True, slots=True)
class Installed:
    """A bundle that serves, or served, under a name.

    Attributes:
        activated_at: Unix seconds.
        merge: Report of its merge, for the state `merged`.
        message: Why it is not merged, or what else is to be said; empty when all is well.
        merge_refused: Merging it again would refuse it again: the adapter stays.
    """

    bundle_id: PathDigest
    state: InstalledState
    tokens_saved_per_call: int
    activated_at: int
    merge: MergeSummary | None = None
    message: str = ""
    merge_refused: bool = False


@_strict
@dataclass(frozen=True, slots=True)
class Entry:
    """One name.

    Attributes:
        active: What serves.
        previous: What served before it, for a rollback.
        rolled_back_from: Bundle that a rollback replaced; it is not installed again.
        pinned: The owner wants no change: no other bundle is installed, and the channel cannot remove it.
    """

    active: Installed
    previous: Installed | None = None
    rolled_back_from: PathDigest | None = None
    pinned: bool = False


@_strict
@dataclass(frozen=True, slots=True)
class Command:
    """What the device's owner wants of one specialization, or of the channel.

    Attributes:
        action: `rollback` lets the bundle before serve again; `pin` ends changes until `unpin`; `accept` follows a
            channel again that went back to an older version.
        name: The specialization; for `accept`, the channel.
    """

    action: Action
    name: PathName


@_strict
@dataclass(frozen=True, slots=True)
class Failure:
    """Why the newest bundle of a name does not serve.

    Attributes:
        attempts: Failures in a row.
        permanent: The same bytes would fail again; nothing is tried until the channel names others.
    """

    bundle_id: PathDigest
    code: str
    message: str
    attempts: int
    permanent: bool


@_strict
@dataclass(frozen=True, slots=True)
class DeviceState:
    """What a device knows again after a restart.

    Attributes:
        edge_model_digest: The edge model that the slots are of; None for a base GGUF without one.
        channel: The channel that was followed.
        channel_version: Its newest version that was seen.
        entries: By name of the specialization.
        failures: By name of the specialization.
    """

    edge_model_digest: PathDigest | None
    channel: PathName
    channel_version: int | None = None
    entries: Mapping[PathName, Entry] = field(default_factory=dict)
    failures: Mapping[PathName, Failure] = field(default_factory=dict)

    def with_entry(self, name: str, entry: Entry | None) -> "DeviceState":
        """The state with this entry for `name`, or without one."""
        return replace(self, entries=_put(self.entries, name, entry))

    def with_failure(self, name: str, failure: Failure | None) -> "DeviceState":
        """The state with this failure for `name`, or without one."""
        return replace(self, failures=_put(self.failures, name, failure))


_ItemT = TypeVar("_ItemT")


def _put(items: Mapping[str, _ItemT], name: str, item: _ItemT | None) -> dict[str, _ItemT]:
    kept = {key: value for key, value in items.items() if key != name}
    return kept if item is None else {**kept, name: item}


@_strict
@dataclass(frozen=True, slots=True)
class _Document:
    """The file: a state, and the format that it is in."""

    format: Literal[1]
    state: DeviceState


_DOCUMENT = TypeAdapter(_Document)

_CORRUPT = ".corrupt-"


class StateFile:
    """Loads and stores the state.

    Args:
        path: The file; the state before the last write is kept as `<name>.bak`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._backup = path.with_name(path.name + ".bak")
        self._stored: bytes | None = None

    def load(self) -> tuple[DeviceState | None, str]:
        """The newest state that can be read; one that could not be read at an earlier start, when there is no other.

        Returns:
            The state, None when there is none, and what was wrong with the files, empty when nothing was.
        """
        state, problem = self._newest((self._path, self._backup), _move_aside)
        if state is None:
            # The disk may have failed for a moment only.
            state, _ = self._newest(self._moved_aside(), lambda path: "")
        return state, problem

    def load_of(self, edge_model_digest: str | None) -> tuple[DeviceState | None, str]:
        """As `load`, for one edge model. The state of another model is set aside; one of this model is used again.

        So a start with a wrong base GGUF does not lose what the right one served.
        """
        state, problem = self.load()
        if state is not None and state.edge_model_digest == edge_model_digest:
            return state, problem
        problems = [problem]
        if state is not None:
            problems.append(f"{self._path.name} is of edge model {state.edge_model_digest}{self._set_aside(state)}")
        aside = self._aside(edge_model_digest)
        state, problem = self._newest((aside,), _move_aside)
        if state is not None:
            _rename(aside, self._path)
        return state, "; ".join(each for each in (*problems, problem) if each)

    def has_remains(self) -> bool:
        """Whether there is, or was, any state: of another edge model, or one that could not be read."""
        return any(self._path.parent.glob(f"{self._path.name}*"))

    def peek(self) -> tuple[DeviceState | None, str]:
        """As `load`, for a process that does not own the file: nothing is moved."""
        return self._newest((self._path, self._backup), lambda path: "")

    def _newest(self, paths: Iterable[Path], on_unreadable: Callable[[Path], str]) -> tuple[DeviceState | None, str]:
        problems: list[str] = []
        for path in paths:
            try:
                return parse_state(_read(path)), "; ".join(problems)
            except FileNotFoundError:
                continue
            except (StateError, OSError) as error:
                problems.append(f"{path.name}: {error}{on_unreadable(path)}")
        return None, "; ".join(problems)

    def store(self, state: DeviceState) -> None:
        """Write the state, whole or not at all.

        Raises:
            OSError: It cannot be written, or is too large to be loaded again; the file is what it was.
        """
        data = encode_state(state)
        if len(data) > MAX_STATE_BYTES:
            raise OSError(errno.EFBIG, f"expected at most {MAX_STATE_BYTES} bytes, found {len(data)}")
        # A copy, not a second name: FAT and some mounts of containers have no hard links. Of what was written, not of
        # what is there: the disk may have damaged it since.
        if self._stored is not None:
            write_atomic(self._backup, self._stored)
        elif self._path.exists():
            write_atomic(self._backup, self._path.read_bytes())
        write_atomic(self._path, data)
        self._stored = data

    def _moved_aside(self) -> tuple[Path, ...]:
        return tuple(sorted(self._path.parent.glob(f"{self._path.name}{_CORRUPT}*"), key=_moved_at, reverse=True))

    def _aside(self, edge_model_digest: str | None) -> Path:
        return self._path.with_name(f"{self._path.name}.of-{edge_model_digest or 'unknown'}")

    def _set_aside(self, state: DeviceState) -> str:
        aside = self._aside(state.edge_model_digest)
        # The newer file last: it replaces the older one, which a later start would otherwise take for the newest.
        return [_rename(path, aside) for path in (self._backup, self._path) if path.exists()][-1]


def encode_state(state: DeviceState) -> bytes:
    """The state as JSON, for people to read as well."""
    return _DOCUMENT.dump_json(_Document(STATE_FORMAT, state), indent=1)


def parse_state(data: bytes) -> DeviceState:
    """Parse a state file.

    Raises:
        StateError: Any bytes that `encode_state` could not have made.
    """
    try:
        return _DOCUMENT.validate_json(data).state
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise StateError(f"{place}: {first['msg']}" if place else first["msg"]) from error
    except ContractError as error:
        raise StateError(str(error)) from error


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_STATE_BYTES:
        raise StateError(f"expected at most {MAX_STATE_BYTES} bytes, found {path.stat().st_size}")
    return path.read_bytes()


def _move_aside(path: Path) -> str:
    return _rename(path, path.with_name(f"{path.name}{_CORRUPT}{time.time_ns()}"))


def _moved_at(path: Path) -> int:
    digits = path.name.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0


def _rename(path: Path, to: Path) -> str:
    try:
        path.replace(to)
    except OSError as error:
        # On a disk that became read-only, nothing can overwrite it either.
        return f"; cannot be moved aside: {error.strerror or error}"
    return f"; moved aside to {to.name}"
