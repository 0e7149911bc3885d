"""What a base GGUF says of itself, its rows, and the bundles that it admits."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader

from edge_runtime.errors import BaseGgufError, BaseGgufUnreadableError
from edge_runtime.gguf.base_gguf import BaseGguf, verify_admitted
from loragen.contract.bundle import Bundle
from loragen.contract.digest import model_digest
from loragen.contract.lora import EdgeShape
from tests.full_disk import no_descriptors


def test_base_says_which_model_it_is(base_gguf: Path, llama_directory: Path) -> None:
    with BaseGguf(base_gguf) as opened:
        assert (opened.model_id, opened.digest) == ("tiny-edge", model_digest(llama_directory))
        assert (opened.architecture, opened.shape) == ("llama", EdgeShape(layers=2, hidden=256, intermediate=512))


def test_rows_are_read_as_they_are_stored(base_gguf: Path) -> None:
    stored = {tensor.name: np.asarray(tensor.data) for tensor in GGUFReader(base_gguf).tensors}
    with BaseGguf(base_gguf) as opened:
        info = opened.tensors["blk.1.ffn_up.weight"]
        rows = opened.read(info, 3, 7).view(np.float16)
        assert np.array_equal(rows, stored[info.name][3:7])


def test_identity_changes_with_the_file(base_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "base.gguf"
    shutil.copy2(base_gguf, path)
    with BaseGguf(base_gguf) as one, BaseGguf(path) as same:
        assert one.identity() == same.identity()
    os.utime(path, ns=(0, 1))
    with BaseGguf(base_gguf) as one, BaseGguf(path) as changed:
        assert one.identity() != changed.identity()


def test_file_that_becomes_shorter_is_an_error(base_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "base.gguf"
    shutil.copy(base_gguf, path)
    with BaseGguf(path) as opened:
        os.truncate(path, 100_000)
        with pytest.raises(BaseGgufError, match="ends inside"):
            opened.read(opened.header.tensors[-1], 0, 1)


def test_missing_file_and_shortage_are_no_fault_of_the_base(base_gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(BaseGgufUnreadableError):
        BaseGguf(tmp_path / "nothing.gguf")
    with no_descriptors(), pytest.raises(BaseGgufUnreadableError):
        BaseGguf(base_gguf)


def test_bundle_of_this_model_is_admitted_and_others_are_not(base_gguf: Path, bundle: Bundle) -> None:
    with BaseGguf(base_gguf) as opened:
        verify_admitted(opened, bundle.header)
        for other in (replace(bundle.header, edge_model_digest="f" * 64), replace(bundle.header, layers=3)):
            with pytest.raises(BaseGgufError) as caught:
                verify_admitted(opened, other, "f" * 64)
            assert caught.value.code == "base_not_admitted"
