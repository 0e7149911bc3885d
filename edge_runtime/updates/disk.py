"""The data directory: where each file is, what is left over, and the lock that keeps it to one daemon.

    state.json            what serves (updates/state.py), and state.json.bak before the last change
    state.json.of-DIGEST  what served on another edge model, for when it is back
    banks/DIGEST.safetensors
    bundles/ID.safetensors
    adapters/ID.gguf      attached at run time until the merge is done
    slots/ID.TYPE.gguf    merged; slots/base.TYPE.IDENTITY.gguf the base
    cache/                quantized tensors that no LoRA touches (edge_runtime.merge)
    requests/             what the command line asks of the daemon
    *.part, *.partial, *.tmp   unfinished

Every name is made of digests, never of what a cloud or a client chose. Which files are needed is decided elsewhere.
"""

import errno
import fcntl
import os
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from edge_runtime.checksum import CHECKSUM_SUFFIX
from edge_runtime.errors import ConfigurationError
from loragen.contract.errors import ContractError
from loragen.contract.names import verify_name

_log = structlog.get_logger(__name__)

_ROLLBACK = "rollback-"

_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_READ_ONLY = (errno.EROFS, errno.EACCES)


def is_shortage(error: OSError) -> bool:
    """Whether a file could not be read for want of descriptors or memory, which says nothing of the file."""
    return error.errno in _SHORTAGES


class DataDirectory:
    """Paths below one directory.

    Args:
        root: Made when it is not there.

    Raises:
        ConfigurationError: It cannot be made or written.
    """

    def __init__(self, root: Path) -> None:
        # Absolute: llama.cpp and threads must not depend on the working directory.
        self.root = root.absolute()
        self.state = self.root / "state.json"
        self.cache = self.root / "cache"
        self._banks = self.root / "banks"
        self._bundles = self.root / "bundles"
        self._adapters = self.root / "adapters"
        self._slots = self.root / "slots"
        self._requests = self.root / "requests"
        # Requests that were taken and could not be deleted.
        self._stuck: set[Path] = set()
        try:
            for folder in (self.cache, self._banks, self._bundles, self._adapters, self._slots, self._requests):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"LORAGEN_EDGE_DATA_DIR: cannot make {error.filename}: {error.strerror}",
                "name a directory that can be written",
            ) from error

    def bank(self, digest: str) -> Path:
        """The bank with this digest."""
        return self._banks / f"{digest}.safetensors"

    def bundle(self, bundle_id: str) -> Path:
        """The bundle with this id."""
        return self._bundles / f"{bundle_id}.safetensors"

    def adapter(self, bundle_id: str) -> Path:
        """The bundle as a GGUF adapter."""
        return self._adapters / f"{bundle_id}.gguf"

    def slot(self, bundle_id: str, quantization: str) -> Path:
        """The bundle merged into the model."""
        return self._slots / f"{bundle_id}.{quantization}.gguf"

    def base(self, identity: str, quantization: str) -> Path:
        """The model without a LoRA, from the base GGUF of this identity."""
        return self._slots / f"base.{quantization}.{identity}.gguf"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the directory to this process.

        Raises:
            ConfigurationError: Another daemon has it, or it cannot be written and never was.
        """
        try:
            descriptor = _open_lock(self.root / "lock")
        except OSError as error:
            raise ConfigurationError(f"LORAGEN_EDGE_DATA_DIR: cannot write in {self.root}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise ConfigurationError(
                f"LORAGEN_EDGE_DATA_DIR: another daemon runs on {self.root}",
                "stop it, or give this one a directory of its own",
            ) from error
        finally:
            os.close(descriptor)

    def is_locked(self) -> bool:
        """Whether a daemon runs on this directory."""
        try:
            with self.locked():
                return False
        except ConfigurationError:
            return True

    def request_rollback(self, name: str) -> Path:
        """Ask the daemon to roll a specialization back; the file is gone when it has."""
        request = self._requests / f"{_ROLLBACK}{verify_name(name)}"
        request.touch()
        return request

    def take_rollback_requests(self) -> list[str]:
        """The specializations that are to be rolled back, each returned once."""
        names = []
        for path in self._open_requests():
            if not _delete(path):
                self._stuck.add(path)
            with suppress(ContractError):
                names.append(verify_name(path.name.removeprefix(_ROLLBACK)))
        return names

    def has_requests(self) -> bool:
        """Whether the command line has asked for something; not, as long as that cannot be seen."""
        try:
            return bool(self._open_requests())
        except OSError:
            return False

    def _open_requests(self) -> list[Path]:
        return sorted(path for path in self._requests.glob(f"{_ROLLBACK}*") if path not in self._stuck)

    def remove_unfinished(self) -> None:
        """Delete what a killed process left half written; downloads stay, to be resumed. Before anything else runs."""
        for pattern in ("*.partial", ".*.tmp"):
            for path in self.root.rglob(pattern):
                _delete(path)

    def collect(self, keep: Set[Path], banks: Set[str] | None) -> list[str]:
        """Delete bundles, adapters and slots that are not in `keep`, and banks whose digest is not in `banks`.

        Args:
            keep: Files that are needed. A download in progress is kept with the file it will become.
            banks: Digests; None keeps every bank.

        Returns:
            Names of what was deleted.
        """
        deleted = []
        for folder in (self._bundles, self._adapters, self._slots):
            for path in folder.iterdir():
                finished = path.with_suffix(".safetensors") if path.suffix == ".part" else path
                finished = finished.with_name(finished.name.removesuffix(".partial").removesuffix(CHECKSUM_SUFFIX))
                if finished not in keep and path.suffix != ".tmp":
                    deleted.append(path)
        if banks is not None:
            deleted += [path for path in self._banks.iterdir() if path.stem not in banks and path.suffix != ".tmp"]
        return [path.name for path in deleted if _delete(path)]


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno not in _READ_ONLY or not path.exists():
            raise
        # What is on a disk that became read-only can serve: a lock needs no writing.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _delete(path: Path) -> bool:
    """Delete a file that nobody needs; one that cannot be deleted stops nothing."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("file_not_deleted", path=str(path), reason=error.strerror or str(error))
        return False
    return True
