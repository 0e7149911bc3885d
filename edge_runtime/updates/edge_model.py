"""The device's edge model: what is known of its base GGUF, and what can be made of it.

A thin value over `edge_runtime.merge`, which does the work and keeps its own rules; everything here blocks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from edge_runtime.config import TypeName
from edge_runtime.errors import ConfigurationError, MergeError
from edge_runtime.gguf.base_gguf import BaseGguf, verify_admitted
from edge_runtime.merge.merger import MergeReport, merge, quantize_base
from loragen.contract.bundle import Bundle, BundleHeader

Progress = Callable[[int, int], None]
"""Called with bytes written and bytes in all; what it raises ends the work."""


class EdgeModel(Protocol):
    """What the coordinators need of the device's model."""

    @property
    def model_id(self) -> str: ...

    @property
    def digest(self) -> str | None:
        """Digest of the edge model; None when nothing says which one the base GGUF is."""
        ...

    @property
    def identity(self) -> str:
        """Changes when the base GGUF's file does."""
        ...

    @property
    def path(self) -> Path:
        """The base GGUF itself."""
        ...

    @property
    def architecture(self) -> str: ...

    @property
    def type_name(self) -> TypeName:
        """Quantization of the slots."""
        ...

    def verify_admitted(self, header: BundleHeader) -> None:
        """Check that a bundle belongs to this model.

        Raises:
            BaseGgufError: It does not.
        """
        ...

    def merge(self, bundle: Bundle, out: Path, progress: Progress) -> MergeReport:
        """Write the model with a bundle merged into it.

        Raises:
            MergeError: It could not be done.
        """
        ...

    def quantize_base(self, out: Path, progress: Progress) -> None:
        """Write the model without a LoRA.

        Raises:
            MergeError: It could not be done.
        """
        ...


@dataclass(frozen=True, slots=True)
class GgufEdgeModel:
    """The edge model as its base GGUF gives it. Attributes as in the port.

    Attributes:
        admitted_digest: What a base GGUF without a digest of its own stands for, by the operator's word.
    """

    path: Path
    model_id: str
    digest: str | None
    identity: str
    architecture: str
    type_name: TypeName
    cache_dir: Path
    admitted_digest: str | None

    @classmethod
    def open(cls, path: Path, type_name: TypeName, cache_dir: Path, admitted_digest: str | None) -> Self:
        """Read what the base GGUF says of itself.

        Raises:
            ConfigurationError: It is missing, damaged, or contradicts `admitted_digest`.
        """
        path = path.absolute()
        try:
            with BaseGguf.open(path) as base_gguf:
                digest = base_gguf.digest or admitted_digest
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
                    architecture=base_gguf.architecture,
                    type_name=type_name,
                    cache_dir=cache_dir,
                    admitted_digest=admitted_digest,
                )
        except MergeError as error:
            raise ConfigurationError(
                f"LORAGEN_EDGE_BASE_MODEL: {error}", error.hint or "loragen-edge convert makes one"
            ) from error

    def verify_admitted(self, header: BundleHeader) -> None:
        with BaseGguf.open(self.path) as base_gguf:
            verify_admitted(base_gguf, header, self.admitted_digest)

    def merge(self, bundle: Bundle, out: Path, progress: Progress) -> MergeReport:
        return merge(self.path, bundle, out, self.type_name, self.cache_dir, progress, self.admitted_digest)

    def quantize_base(self, out: Path, progress: Progress) -> None:
        quantize_base(self.path, out, self.type_name, self.cache_dir, progress)
