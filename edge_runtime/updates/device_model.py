"""The device's model: what is known of its base GGUF, and what can be made of it.

A thin value over `edge_runtime.merge`, which does the work and has its own rules. Everything here blocks.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edge_runtime.errors import ConfigurationError, MergeError
from edge_runtime.gguf.base_gguf import BaseGguf, verify_admitted
from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge.merger import MergeReport, merge, quantize_base
from edge_runtime.merge.writer import Progress
from loragen.contract.bundle import Bundle, BundleHeader


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """The edge model of one device.

    Attributes:
        path: The base GGUF.
        model_id: Id of the edge model; the file's name when the base GGUF does not say it.
        digest: Digest of the edge model; None when neither the base GGUF nor the operator says it.
        identity: Changes when the base GGUF's file does.
        architecture: llama.cpp's name of it.
        quantization: Of the slots.
        cache_dir: Where quantized tensors that no LoRA touches are kept.
        admitted_digest: What a base GGUF without a digest of its own stands for, as the operator says.
    """

    path: Path
    model_id: str
    digest: str | None
    identity: str
    architecture: str
    quantization: Quantization
    cache_dir: Path
    admitted_digest: str | None

    @classmethod
    def open(cls, path: Path, quantization: Quantization, cache_dir: Path, admitted_digest: str | None) -> Self:
        """Read what the base GGUF says of itself.

        Raises:
            ConfigurationError: It is missing, damaged, or contradicts `admitted_digest`.
        """
        path = path.absolute()
        try:
            with BaseGguf(path) as base_gguf:
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
                    quantization=quantization,
                    cache_dir=cache_dir,
                    admitted_digest=admitted_digest,
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
            verify_admitted(base_gguf, header, self.admitted_digest)

    def merge(self, bundle: Bundle, out: Path, progress: Progress) -> MergeReport:
        """Write the model with a bundle merged into it.

        Raises:
            MergeError: It could not be done.
        """
        return merge(self.path, bundle, out, self.quantization, self.cache_dir, progress, self.admitted_digest)

    def quantize_base(self, out: Path, progress: Progress) -> None:
        """Write the model without a LoRA.

        Raises:
            MergeError: It could not be done.
        """
        quantize_base(self.path, out, self.quantization, self.cache_dir, progress)
