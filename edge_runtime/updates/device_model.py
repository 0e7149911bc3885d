"""The device's model: what is known of its base GGUF, and what can be made of it.

A thin value over `edge_runtime.merge`, which does the work and has its own rules. Everything here blocks.

Rules: to open it takes no numpy, which is loaded with the first model or merge. What was found is remembered, so that a
device whose base GGUF is lost knows which model it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import TypeAdapter, ValidationError

from edge_runtime.checksum import remove_with_checksum
from edge_runtime.errors import BaseGgufError, BaseGgufUnreadableError, MergeError
from edge_runtime.gguf.base_gguf import BaseGguf, find_base_gguf, verify_admitted
from edge_runtime.gguf.quantization import Quantization, main_type, storage_type
from edge_runtime.updates.base_note import BaseNote, verify_undamaged
from loragen.contract.atomic import write_atomic
from loragen.contract.digest import model_digest
from loragen.contract.errors import ContractError
from loragen.contract.gguf_adapter import GgufModel
from loragen.contract.gguf_header import row_bytes
from loragen.web.errors import ConfigurationError

if TYPE_CHECKING:
    from edge_runtime.merge.merger import MergeReport
    from edge_runtime.merge.writer import Progress
    from loragen.contract.bundle import Bundle, BundleHeader


_NOTE = "base.json"
_MODEL = "model.json"
_MAX_MODEL_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """The edge model of one device.

    Attributes:
        path: The base GGUF.
        model_id: Id of the edge model; the file's name when the base GGUF does not say it.
        digest: Digest of the edge model: what the base GGUF says, else what the operator says, else its own.
        identity: Changes when the base GGUF's file does.
        gguf_model: What decides how a LoRA for it looks in llama.cpp.
        quantization: Asked for the slots.
        served_bytes: Of the tensors of a slot that no LoRA touches.
        served_type: Type that most of the model's matrices have in a slot that no LoRA touches.
        serves_base_gguf: The base GGUF itself serves as the base: quantizing would change nothing in it.
        cache_dir: Where quantized tensors that no LoRA touches are kept, and what is remembered of the base GGUF.
        asked: What it was read for: the base GGUF as the setting names it, the type of slots, the admitted digest.
        problem: Why the base GGUF cannot be read; the rest is as it was when it could. Empty when it can.
    """

    path: Path
    model_id: str
    digest: str
    identity: str
    gguf_model: GgufModel
    quantization: Quantization
    served_bytes: int
    served_type: str
    serves_base_gguf: bool
    cache_dir: Path
    asked: tuple[Path, Quantization, str | None]
    problem: str = ""

    @classmethod
    def open(cls, path: Path, quantization: Quantization, cache_dir: Path, admitted_digest: str | None) -> DeviceModel:
        """Read what the base GGUF says of itself; where it is lost, take what it said when it was read last.

        Raises:
            ConfigurationError: It is missing or damaged and was never read with these settings, or it contradicts
                `admitted_digest`.
        """
        try:
            model = cls.read(path, quantization, cache_dir, admitted_digest)
        except MergeError as error:
            problem, known = f"LORAGEN_EDGE_BASE_MODEL: {error}", _recall(cache_dir / _MODEL)
            if known is None or known.asked != (path, quantization, admitted_digest):
                raise ConfigurationError(problem, error.hint or "loragen-edge convert makes one") from error
            return replace(known, cache_dir=cache_dir, problem=problem)
        model.remember()
        return model

    @classmethod
    def read(cls, path: Path, quantization: Quantization, cache_dir: Path, admitted_digest: str | None) -> Self:
        """Read what the base GGUF says of itself.

        Raises:
            MergeError: It is missing or damaged.
            ConfigurationError: It contradicts `admitted_digest`.
        """
        asked, path = (path, quantization, admitted_digest), find_base_gguf(path)
        with BaseGguf(path) as base_gguf:
            digest = base_gguf.digest or admitted_digest or _own_digest(path, cache_dir / _NOTE)
            served = [(info, storage_type(info, quantization)) for info in base_gguf.header.tensors]
            if admitted_digest is not None and digest != admitted_digest:
                raise ConfigurationError(
                    f"LORAGEN_EDGE_ADMIT_BASE_DIGEST: {admitted_digest} is set, the base GGUF says {digest}",
                    "unset it: it is for base GGUFs that say nothing",
                )
            return cls(
                path=path,
                model_id=base_gguf.model_id or path.stem,
                digest=digest,
                identity=base_gguf.identity(),
                gguf_model=GgufModel.of(base_gguf.header),
                quantization=quantization,
                served_bytes=sum(info.rows * row_bytes(info.columns, dtype) for info, dtype in served),
                served_type=main_type(served).name,
                serves_base_gguf=all(info.type is dtype for info, dtype in served),
                cache_dir=cache_dir,
                asked=asked,
            )

    def read_again(self) -> DeviceModel:
        """The model with what the base GGUF says now, where it could not be read before.

        Raises:
            MergeError: It is still missing or damaged, or is another model now.
            ConfigurationError: As `read`.
        """
        path, quantization, admitted_digest = self.asked
        found = DeviceModel.read(path, quantization, self.cache_dir, admitted_digest)
        if found.digest != self.digest:
            raise BaseGgufError(
                f"{found.path.name} is edge model {found.digest} now, and was {self.digest}", "restart the device"
            )
        found.remember()
        return found

    def remember(self) -> None:
        """Note what was read, for a start without the base GGUF."""
        path, data = self.cache_dir / _MODEL, _AS_JSON.dump_json(self)
        with suppress(OSError):
            if not path.exists() or path.read_bytes() != data:
                write_atomic(path, data)

    def verify_admitted(self, header: BundleHeader) -> None:
        """Check that a bundle belongs to this model.

        Raises:
            BaseGgufError: It does not.
        """
        if self.problem:
            # What was made of the base GGUF before is there, and serves with it.
            if header.edge_model_digest != self.digest:
                raise BaseGgufError(f"the bundle is for edge model {header.edge_model_digest}, not {self.digest}")
            return
        with BaseGguf(self.path) as base_gguf:
            verify_admitted(base_gguf, header, self.digest)

    def file_now(self) -> str:
        """Which file is in the base GGUF's place now: changes when somebody writes it; empty when there is none."""
        try:
            return BaseNote.of(find_base_gguf(self.asked[0]), self.cache_dir / _NOTE).file
        except (MergeError, OSError):
            return ""

    def verify_undamaged(self) -> None:
        """Check that the disk did not change the base GGUF.

        Raises:
            BaseGgufError, BaseGgufUnreadableError: It did, or cannot be read.
        """
        verify_undamaged(self.path, self.cache_dir / _NOTE)

    def merge(self, bundle: Bundle, out: Path, progress: Progress) -> MergeReport:
        """Write the model with a bundle merged into it.

        Raises:
            MergeError: It could not be done.
        """
        from edge_runtime.merge.merger import merge

        with self._unchanged(out):
            self.verify_undamaged()
            return merge(self.path, bundle, out, self.quantization, self.cache_dir, progress, self.digest)

    def quantize_base(self, out: Path, progress: Progress) -> None:
        """Write the model without a LoRA.

        Raises:
            MergeError: It could not be done.
        """
        from edge_runtime.merge.merger import quantize_base

        with self._unchanged(out):
            self.verify_undamaged()
            quantize_base(self.path, out, self.quantization, self.cache_dir, progress)

    @contextmanager
    def _unchanged(self, out: Path) -> Iterator[None]:
        """Delete what the block makes when the base GGUF was written meanwhile.

        Raises:
            BaseGgufUnreadableError: It was.
        """
        before = self.file_now()
        yield
        if self.file_now() != before:
            with suppress(OSError):
                remove_with_checksum(out)
            raise BaseGgufUnreadableError(f"{self.path.name} was written while it was read", "is it still copied?")


def _own_digest(path: Path, note_path: Path) -> str:
    """The digest of a base GGUF that says none, as it was before the disk damaged it.

    Raises:
        BaseGgufError, BaseGgufUnreadableError: It is damaged, or cannot be read.
    """
    try:
        note = BaseNote.of(path, note_path)
        if not note.digest:
            note = replace(note, digest=model_digest(path))
            note.store(note_path)
    except OSError as error:
        raise BaseGgufUnreadableError(f"cannot read {path.name}: {error.strerror or error}") from error
    except ContractError as error:
        raise BaseGgufError(f"{path.name}: {error}") from error
    return note.digest


_AS_JSON = TypeAdapter(DeviceModel)


def _recall(path: Path) -> DeviceModel | None:
    try:
        with path.open("rb") as file:
            return _AS_JSON.validate_json(file.read(_MAX_MODEL_BYTES))
    except (OSError, ValidationError):
        return None
