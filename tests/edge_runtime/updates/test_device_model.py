"""What a device reads from its base GGUF, and the base GGUFs that it refuses."""

from pathlib import Path

import pytest

from edge_runtime.bootstrap import assemble
from edge_runtime.errors import ConfigurationError
from edge_runtime.gguf.quantization import Quantization
from edge_runtime.updates.device_model import DeviceModel
from tests.edge_runtime.fakes import make_settings


async def test_truncated_base_refuses_the_start(tiny_base: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(tiny_base.read_bytes()[:-100_000])  # noqa: ASYNC240 - a small file, before anything runs
    with pytest.raises(ConfigurationError, match=r"LORAGEN_EDGE_BASE_MODEL.*truncated"):
        async with assemble(make_settings(tmp_path / "edge", damaged, None)):
            pass


def test_base_that_says_which_model_it_is(tiny_base: Path, tiny_digest: str, tmp_path: Path) -> None:
    model = DeviceModel.open(tiny_base, Quantization.Q4_0, tmp_path, None)
    assert (model.model_id, model.digest, model.architecture) == ("nano-edge", tiny_digest, "llama")
    with pytest.raises(ConfigurationError, match="ADMIT_BASE_DIGEST"):
        DeviceModel.open(tiny_base, Quantization.Q4_0, tmp_path, "a" * 64)


def test_base_from_elsewhere_has_the_name_of_its_file_and_the_admitted_digest(tiny_base: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.gguf"
    foreign.write_bytes(tiny_base.read_bytes().replace(b"loragen.edge_model.", b"another.edge_model."))
    model = DeviceModel.open(foreign, Quantization.Q4_0, tmp_path, None)
    assert (model.model_id, model.digest) == ("foreign", None)
    assert DeviceModel.open(foreign, Quantization.Q4_0, tmp_path, "a" * 64).digest == "a" * 64


def test_missing_base_is_a_configuration_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="BASE_MODEL") as caught:
        DeviceModel.open(tmp_path / "nothing.gguf", Quantization.Q4_0, tmp_path, None)
    assert "convert" in caught.value.hint
