"""The data directory: where each file is, what is left over, and the lock that keeps it to one daemon.

    state.json            what serves (updates/state.py), and state.json.bak before the last change
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

from contract.errors import ContractError
from contract.names import verify_name
from edge_runtime.checksum import CHECKSUM_SUFFIX
from edge_runtime.errors import ConfigurationError

_ROLLBACK = "rollback-"


_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


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
        try:
            for folder in (self.cache, self._banks, self._bundles, self._adapters, self._slots, self._requests):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"EDGE_DATA_DIR: cannot make {error.filename}: {error.strerror}", "name a directory that can be written"
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

    def slot(self, bundle_id: str, type_name: str) -> Path:
        """The bundle merged into the model."""
        return self._slots / f"{bundle_id}.{type_name}.gguf"

    def base(self, identity: str, type_name: str) -> Path:
        """The model without a LoRA, from the master of this identity."""
        return self._slots / f"base.{type_name}.{identity}.gguf"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the directory to this process.

        Raises:
            ConfigurationError: Another daemon has it, or it cannot be written.
        """
        try:
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigurationError(f"EDGE_DATA_DIR: cannot write in {self.root}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise ConfigurationError(
                f"EDGE_DATA_DIR: another daemon runs on {self.root}", "stop it, or give this one a directory of its own"
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
        for path in sorted(self._requests.glob(f"{_ROLLBACK}*")):
            path.unlink(missing_ok=True)
            with suppress(ContractError):
                names.append(verify_name(path.name.removeprefix(_ROLLBACK)))
        return names

    def has_requests(self) -> bool:
        """Whether the command line has asked for something; not, as long as that cannot be seen."""
        try:
            return any(self._requests.glob(f"{_ROLLBACK}*"))
        except OSError:
            return False

    def remove_unfinished(self) -> None:
        """Delete what a killed process left half written; downloads stay, to be resumed. Before anything else runs."""
        for pattern in ("*.partial", ".*.tmp"):
            for path in self.root.rglob(pattern):
                path.unlink(missing_ok=True)

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
        for path in deleted:
            path.unlink(missing_ok=True)
        return [path.name for path in deleted]
