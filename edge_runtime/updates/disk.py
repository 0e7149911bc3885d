"""The data directory: where each file is, and what is left over.

    state.json            what serves (updates/state.py), and state.json.bak before the last change
    state.json.of-DIGEST  what served on another edge model, for when it is back
    journal.json          what was begun and has not ended (updates/journal.py)
    history.jsonl         what was tried (updates/history.py), and history.jsonl.old before that
    banks/DIGEST.safetensors
    bundles/ID.safetensors
    adapters/ID.gguf      attached at run time until the merge is done
    slots/ID.TYPE.gguf    merged; slots/base.TYPE.IDENTITY.gguf the base
    trust/CHANNEL/        TUF metadata of a signed channel (edge_runtime/cloud/trust.py)
    cache/                quantized tensors that no LoRA touches (edge_runtime/merge)
    cache/base.json       what is remembered of the base GGUF's file (updates/base_note.py)
    cache/model.json      and of the model in it (updates/device_model.py)
    commands.sock         where a running device takes its owner's commands (edge_runtime/commands.py)
    lock                  locked by a running device (updates/lock.py)
    *.part, *.partial, .*.tmp  unfinished

Every name is made of digests, or chosen by the device's owner, never by a cloud or a client. Which files are needed is
decided by the updater.
"""

import errno
import time
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

import structlog

from edge_runtime.checksum import CHECKSUM_SUFFIX, verify_checksum, write_checksum
from edge_runtime.errors import ModelLoadError
from edge_runtime.updates.state import Entry
from loragen.web.errors import ConfigurationError

_log = structlog.get_logger(__name__)

_ABANDONED_SECONDS = 600.0
"""A file for the time being, which is written in seconds, belongs to nobody after so long: its disk did not let it be
deleted."""

_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def is_shortage(error: OSError) -> bool:
    """Whether a file could not be read because descriptors or memory ran out; the file itself may be sound."""
    return error.errno in _SHORTAGES


def is_intact(path: Path) -> bool:
    """Whether a model file has its checksum, as far as it can be read now. Blocking."""
    try:
        verify_checksum(path, required=True)
    except ModelLoadError as error:
        return isinstance(error.__cause__, OSError) and is_shortage(error.__cause__)
    return True


def note_checksum(path: Path) -> None:
    """Write the checksum of a model file. One without serves too; damage to it is then found late. Blocking."""
    with suppress(OSError):
        write_checksum(path)


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
        self.history = self.root / "history.jsonl"
        self.journal = self.root / "journal.json"
        self.socket = self.root / "commands.sock"
        self.cache = self.root / "cache"
        self.trust = self.root / "trust"
        self._banks = self.root / "banks"
        self._bundles = self.root / "bundles"
        self._adapters = self.root / "adapters"
        self._slots = self.root / "slots"
        try:
            for folder in (self.cache, self._banks, self._bundles, self._adapters, self._slots):
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

    def files_of(self, entry: Entry, quantization: str) -> set[Path]:
        """What one specialization needs, for serving and for a rollback.

        Args:
            entry: The specialization.
            quantization: Type of the slots that are made now; those of an earlier type serve until then.
        """
        files = {self.adapter(entry.active.bundle_id)} if entry.active.state == "adapter" else set()
        for installed in (entry.active, entry.previous):
            if installed is not None:
                files |= {self.bundle(installed.bundle_id), self.slot(installed.bundle_id, quantization)}
                if installed.merge is not None:
                    files.add(self.slot(installed.bundle_id, installed.merge.quantization))
        return files

    def remove_unfinished(self) -> None:
        """Delete what a killed process left half written; call it first. Downloads that began are resumed."""
        for pattern in ("*.partial", ".*.tmp", "*.part"):
            for path in self.root.rglob(pattern):
                if path.suffix != ".part" or path.stat().st_size == 0:
                    _delete(path)

    def collect(self, needed: Set[Path], banks: Set[str] | None) -> list[str]:
        """Delete bundles, adapters and slots that are not in `needed`, and banks whose digest is not in `banks`.

        What an earlier attempt had to leave half written goes with them.

        Args:
            needed: Files that stay. A download in progress stays with the file it will become.
            banks: Digests; None deletes no bank.

        Returns:
            Names of what was deleted.
        """
        deleted = []
        for folder in (self._bundles, self._adapters, self._slots):
            for path in folder.iterdir():
                finished = path.with_suffix(".safetensors") if path.suffix == ".part" else path
                finished = finished.with_name(finished.name.removesuffix(".partial").removesuffix(CHECKSUM_SUFFIX))
                if finished not in needed and path.suffix != ".tmp":
                    deleted.append(path)
        if banks is not None:
            deleted += [path for path in self._banks.iterdir() if path.stem not in banks and path.suffix != ".tmp"]
        deleted += [path for path in self.root.rglob(".*.tmp") if _is_abandoned(path)]
        return [path.name for path in deleted if _delete(path)]


def _is_abandoned(path: Path) -> bool:
    try:
        return path.stat().st_mtime + _ABANDONED_SECONDS < time.time()
    except FileNotFoundError:
        return False


def _delete(path: Path) -> bool:
    """Delete a file that is not needed; a failure is logged and stops nothing."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("file_not_deleted", path=str(path), reason=error.strerror or str(error))
        return False
    return True
