"""The base GGUF: the edge model's high-precision GGUF file, and whether a bundle may be merged into it.

Rules:
- Tensors are read with `pread` by rows, from any thread: memory does not grow with the model, and no mapped page counts
  as resident.
- A file that a bundle was merged into is no base GGUF: another bundle would be added to the first.
- A bundle is merged only into the model that it was made for. A base GGUF from our converter says which model it is.
  One from elsewhere is a model of its own, of its own digest, unless an operator names the digest of the model that it
  was made of.

It leaves to others: what happens to the weights (`edge_runtime.merge`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gguf.constants import Keys

from edge_runtime.errors import BaseGgufError, BaseGgufUnreadableError
from loragen.contract.digest import model_digest
from loragen.contract.errors import ContractError
from loragen.contract.gguf_header import Header, TensorInfo, read_header
from loragen.contract.lora import EdgeShape, Linears
from loragen.contract.names import BASE_MODEL_DIGEST, BASE_MODEL_ID, BUNDLE_ID, gguf_name, verify_digest
from loragen.packages import PackagedModelError, find_packaged_model, is_package_reference

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from loragen.contract.bundle import BundleHeader


class BaseGguf:
    """An open GGUF model. Use it as a context manager; all methods may be called from several threads.

    Attributes:
        path: The file.
        header: Its metadata and tensors.
        tensors: Tensors by name.
        shape: What a LoRA must know of the model.

    Raises:
        BaseGgufError: The file is malformed, has a bundle in it, or is not a dense decoder with gate, up and down
            projections.
        BaseGgufUnreadableError: It is missing, or cannot be read now.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: Header = _read_header(path)
        merged = self.header.string(BUNDLE_ID)
        if merged is not None:
            raise BaseGgufError(
                f"{path.name} is no base GGUF: bundle {ascii(merged[:64])[1:-1]} is merged into it already",
                hint="name the base GGUF that it was made of",
            )
        self.tensors: Mapping[str, TensorInfo] = {info.name: info for info in self.header.tensors}
        self.shape = _edge_shape(self.header, self.tensors)
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as e:
            raise BaseGgufUnreadableError(f"cannot read {path.name}: {e.strerror or e}") from e

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    @property
    def model_id(self) -> str | None:
        """Id of the edge model; None for a base GGUF from elsewhere."""
        return self.header.string(BASE_MODEL_ID)

    @property
    def digest(self) -> str | None:
        """Digest of the edge model; None for a base GGUF from elsewhere."""
        return self.header.string(BASE_MODEL_DIGEST)

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the architecture."""
        return self.header.string(Keys.General.ARCHITECTURE) or ""

    @property
    def linears(self) -> Linears:
        """Widths of the linear layers that a LoRA may act on."""
        found = {block: self.tensors.get(gguf_name(*block)) for block in self.shape.linears()}
        return {block: (info.columns, info.rows) for block, info in found.items() if info is not None}

    @property
    def fileno(self) -> int:
        """The open file, for copies inside the kernel."""
        return self._fd

    def identity(self) -> str:
        """A short text that changes when the file does: from its metadata, size and modification time."""
        status = os.fstat(self._fd)
        state = hashlib.sha256(f"{status.st_size} {status.st_mtime_ns}".encode())
        for key, value in self.header.metadata.items():
            state.update(key.encode() + b"\0" + value.raw)
        for info in self.header.tensors:
            state.update(f"{info.name} {info.shape} {info.type} {info.offset}".encode())
        return state.hexdigest()[:32]

    def read(self, info: TensorInfo, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Read rows as they are stored.

        Returns:
            (stop - start, bytes of a row) uint8.

        Raises:
            BaseGgufError: The file has become shorter.
            BaseGgufUnreadableError: It cannot be read now.
        """
        import numpy as np

        out = np.empty((stop - start, info.row_bytes), np.uint8)
        left, offset = out.data.cast("B"), info.offset + start * info.row_bytes
        while left:
            try:
                count = os.preadv(self._fd, [left], offset)
            except OSError as e:
                raise BaseGgufUnreadableError(f"cannot read {self.path.name}: {e.strerror or e}") from e
            if count == 0:
                raise BaseGgufError(f"{self.path.name} ends inside tensor {info.name!r}")
            left, offset = left[count:], offset + count
        return out


def find_base_gguf(reference: Path) -> Path:
    """The file of a base GGUF: itself, or what a Python package carries (`package:NAME/PATH`, see `loragen.packages`).

    Raises:
        BaseGgufUnreadableError: The package is not installed, or carries no such file.
    """
    if not is_package_reference(reference):
        return reference.absolute()
    try:
        return find_packaged_model(reference)
    except PackagedModelError as e:
        raise BaseGgufUnreadableError(str(e), hint=e.hint) from e


def _read_header(path: Path) -> Header:
    try:
        return read_header(path)
    except OSError as e:
        raise BaseGgufUnreadableError(f"cannot read {path.name}: {e.strerror or e}") from e
    except ContractError as e:
        raise BaseGgufError(f"{path.name}: {e}") from e


def _edge_shape(header: Header, tensors: Mapping[str, TensorInfo]) -> EdgeShape:
    name = header.string(Keys.General.ARCHITECTURE) or ""
    layers = header.integer(Keys.LLM.BLOCK_COUNT.format(arch=name))
    hidden = header.integer(Keys.LLM.EMBEDDING_LENGTH.format(arch=name))
    intermediate = header.integer(Keys.LLM.FEED_FORWARD_LENGTH.format(arch=name))
    if layers is None or hidden is None or intermediate is None:
        raise BaseGgufError(
            f"architecture {name!r} does not state its layers and widths", hint="use a dense decoder model"
        )
    try:
        shape = EdgeShape(layers, hidden, intermediate)
    except ContractError as e:
        raise BaseGgufError(str(e)) from e
    for layer, projection in shape.blocks():
        width_in, width_out = shape.in_out(projection)
        info = tensors.get(gguf_name(layer, projection))
        if info is None or info.shape != (width_out, width_in):
            raise BaseGgufError(
                f"{gguf_name(layer, projection)} of shape {(width_out, width_in)} expected, "
                f"found {info.shape if info else 'none'}",
                hint="models with fused projections or experts are not supported",
            )
    return shape


def verify_admitted(base_gguf: BaseGguf, header: BundleHeader, admitted_digest: str | None = None) -> None:
    """Check that a bundle belongs to a base GGUF.

    Args:
        base_gguf: Where the bundle would go.
        header: The bundle's header.
        admitted_digest: Digest of the edge model that a base GGUF without a digest of its own stands for, by the
            operator's word.

    Raises:
        BaseGgufError: They do not belong together, or nothing says that they do.
        ContractError: `admitted_digest` is not a digest.
    """
    digest = base_gguf.digest or (verify_digest(admitted_digest) if admitted_digest else model_digest(base_gguf.path))
    if digest != header.edge_model_digest:
        raise BaseGgufError(
            f"the bundle is for edge model {header.edge_model_id} ({header.edge_model_digest}), "
            f"the base GGUF is {base_gguf.model_id or 'unnamed'} ({digest})",
            hint="fetch a bundle that was generated for this model; if the base GGUF was made of that one elsewhere, "
            "name the digest: in LORAGEN_EDGE_ADMIT_BASE_DIGEST for a device, with --admit-digest on the command line",
            code="base_not_admitted",
        )
    if header.layers != base_gguf.shape.layers:
        raise BaseGgufError(
            f"the bundle has {header.layers} layers, the base GGUF {base_gguf.shape.layers}", code="base_not_admitted"
        )
