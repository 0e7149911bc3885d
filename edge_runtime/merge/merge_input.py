"""The input of `loragen-edge merge`: a bundle file, or a PEFT adapter of the user's own for the base GGUF at hand.

An adapter does not say which model it is for, so the user decides that: it becomes a bundle for this base GGUF, and
every shape is compared with the base GGUF's. A bundle names its model, and the merge checks that. Where a bundle's file
has its id for a name, as on a device, its bytes are compared with it: a damaged weight shows nowhere else.
"""

from __future__ import annotations

import re
from pathlib import Path

from edge_runtime.errors import MergeError
from edge_runtime.gguf.base_gguf import BaseGguf
from loragen.contract.bundle import Bundle, content_id, parse_bundle
from loragen.contract.digest import model_digest
from loragen.contract.errors import FormatError, MismatchError
from loragen.contract.limits import MAX_BUNDLE_BYTES
from loragen.contract.names import DIGEST_PATTERN, verify_model_id
from loragen.contract.peft import CONFIG_FILE, WEIGHTS_FILE
from loragen.contract.peft_adapter import imported_bundle, read_adapter

_UNNAMED = "unnamed"
_GGUF = b"GGUF"


def load_merge_input(path: Path, base_path: Path, admitted_digest: str | None) -> Bundle:
    """The bundle in a file, or the bundle made of an adapter.

    Args:
        path: A bundle file, a PEFT folder, or the weights file in one.
        base_path: The base GGUF that it will be merged into.
        admitted_digest: As in `base_gguf.verify_admitted`.

    Raises:
        MergeError: The file is too large, or the base GGUF cannot be read.
        ContractError: The file is no bundle, or not the one of its name; or the adapter cannot become one for this base
            GGUF.
        OSError: A file cannot be read.
    """
    if path.is_dir() or (path.name == WEIGHTS_FILE and path.with_name(CONFIG_FILE).is_file()):
        return _import(path, base_path, admitted_digest)
    if path.stat().st_size > MAX_BUNDLE_BYTES:
        raise MergeError(f"{path.name} has more than {MAX_BUNDLE_BYTES} bytes: it is no bundle")
    data = path.read_bytes()
    if re.fullmatch(DIGEST_PATTERN, path.stem) and (found := content_id(data)) != path.stem:
        raise MismatchError(
            f"{path.name} is not the bundle that it is named after: expected sha256 {path.stem}, found {found}",
            hint="it was damaged or changed: fetch it again, or give it another name",
        )
    if data.startswith(_GGUF):
        raise FormatError(
            f"{path.name} is a GGUF file, no bundle",
            hint="an adapter of llama.cpp is not merged: name the bundle or the PEFT folder that it was made of",
        )
    try:
        return parse_bundle(data)
    except FormatError as e:
        if "loragen.format" not in str(e) and "__metadata__" not in str(e):  # what other files lack
            raise
        raise FormatError(
            f"{path.name} is no bundle: {e}", hint=f"for a PEFT adapter, name the folder with its {CONFIG_FILE}"
        ) from e


def _import(path: Path, base_path: Path, admitted_digest: str | None) -> Bundle:
    adapter = read_adapter(path)
    with BaseGguf(base_path) as base_gguf:
        digest = base_gguf.digest or admitted_digest or model_digest(base_path)
        return imported_bundle(adapter, base_gguf.shape, base_gguf.linears, _id_of(base_gguf), digest)


def _id_of(base_gguf: BaseGguf) -> str:
    try:
        return verify_model_id(base_gguf.model_id or base_gguf.path.stem)
    except FormatError:  # a file may have any name
        return _UNNAMED
