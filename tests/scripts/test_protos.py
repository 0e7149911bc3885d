"""The checked-in stubs are those of protos/, and a drift is noticed."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from loragen.contract.stubs import loragen_pb2, loragen_pb2_grpc

ROOT = Path(__file__).parents[2]


@pytest.fixture
def protos() -> ModuleType:
    """scripts/protos.py, the command behind `make protos`."""
    spec = importlib.util.spec_from_file_location("protos_script", ROOT / "scripts" / "protos.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_stubs_are_those_of_the_sources(protos: ModuleType) -> None:
    assert protos.main(["--check"]) == 0


@pytest.mark.parametrize(
    "change",
    [lambda text: text.replace("known_version = 3", "known_version = 4"), lambda text: text + "message New {}\n"],
)
def test_changed_source_is_noticed(
    protos: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[str], str],
) -> None:
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    source = tmp_path / "protos" / "loragen" / "v1" / "loragen.proto"
    source.write_text(change(source.read_text()))
    monkeypatch.setattr(protos, "SOURCES", tmp_path / "protos")
    assert protos.main(["--check"]) == 1
    assert "loragen_pb2" in capsys.readouterr().err


def test_services_have_the_agreed_methods() -> None:
    services = loragen_pb2.DESCRIPTOR.services_by_name
    assert loragen_pb2.DESCRIPTOR.package == "loragen.v1"
    methods = {name: [method.name for method in service.methods] for name, service in services.items()}
    assert methods == {"Generator": ["GenerateLora"], "Channels": ["Watch", "ReportStatus"]}
    assert services["Channels"].methods_by_name["Watch"].server_streaming
    assert loragen_pb2_grpc.GeneratorServicer.GenerateLora
