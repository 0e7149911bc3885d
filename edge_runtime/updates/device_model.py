"""The device's model: what is known of its base GGUF, and what can be made of it.

A thin value over `edge_runtime.merge`, which does the work and has its own rules. Everything here blocks.

Rule: to open it takes no numpy, which is loaded with the first model or merge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from edge_runtime.errors import MergeError
from edge_runtime.gguf.base_gguf import BaseGguf, find_base_gguf, verify_admitted
from edge_runtime.gguf.quantization import Quantization, main_type, storage_type
from edge_runtime.updates.base_note import BaseNote, verify_undamaged
from loragen.contract.digest import model_digest
from loragen.contract.gguf_adapter import GgufModel
from loragen.contract.gguf_header import row_bytes
from loragen.web.errors import ConfigurationError

if TYPE_CHECKING:
    from edge_runtime.merge.merger import MergeReport
    from edge_runtime.merge.writer import Progress
    from loragen.contract.bundle import Bundle, BundleHeader


_NOTE = "base.json"


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

    @classmethod
    def open(cls, path: Path, quantization: Quantization, cache_dir: Path, admitted_digest: str | None) -> Self:
        """Read what the base GGUF says of itself.

        Raises:
            ConfigurationError: It is missing, damaged, or contradicts `admitted_digest`.
        """
        try:
            path = find_base_gguf(path)
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
                )
        except MergeError as error:
            raise ConfigurationError(
                f"LORAGEN_EDGE_BASE_MODEL: {error}", error.hint or "loragen-edge convert makes one"
            ) from error

    def verify_admitted(self, header: BundleHeader) -> None:
        """Check that a bundle belongs to this model.

        Raises:
            BaseGgufError: It does not.
        """
        with BaseGguf(self.path) as base_gguf:
            verify_admitted(base_gguf, header, self.digest)

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

        self.verify_undamaged()
        return merge(self.path, bundle, out, self.quantization, self.cache_dir, progress, self.digest)

    def quantize_base(self, out: Path, progress: Progress) -> None:
        """Write the model without a LoRA.

        Raises:
            MergeError: It could not be done.
        """
        from edge_runtime.merge.merger import quantize_base

        self.verify_undamaged()
        quantize_base(self.path, out, self.quantization, self.cache_dir, progress)


def _own_digest(path: Path, note_path: Path) -> str:
    """The digest of a base GGUF that says none, as it was before the disk damaged it."""
    note = BaseNote.of(path, note_path)
    if not note.digest:
        note = replace(note, digest=model_digest(path))
        note.store(note_path)
    return note.digest
