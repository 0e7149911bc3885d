"""Child processes: started with exactly their settings, ended on every way out."""

import json
import sys
from pathlib import Path

import pytest

from demo.errors import ServiceError
from demo.run import main
from demo.services import free_ports, generator_source, local_services, start_child, wait_until_ready


def test_child_sees_its_settings_and_none_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_CLOUD_PORT", "1")
    script = "import os; print(sorted(k for k in os.environ if k.startswith('LORAGEN_')))"
    child = start_child("child", [sys.executable, "-c", script], {"LORAGEN_EDGE_PORT": "2"}, tmp_path / "log")
    child.process.wait(timeout=30)
    assert child.log.read_text().strip() == "['LORAGEN_EDGE_PORT']"


def test_child_that_ends_early_is_reported_with_its_log(tmp_path: Path) -> None:
    child = start_child("cloud service", [sys.executable, "-c", "raise SystemExit('no port')"], {}, tmp_path / "log")
    with pytest.raises(ServiceError, match=r"cloud service ended with exit code 1.*\n.*no port"):
        wait_until_ready("cloud service", lambda: False, [child])


def test_stop_ends_a_running_child(tmp_path: Path) -> None:
    child = start_child("child", [sys.executable, "-c", "import time; time.sleep(600)"], {}, tmp_path / "log")
    child.verify_alive()
    child.stop()
    assert child.process.returncode is not None


def test_stop_after_the_end_is_harmless(tmp_path: Path) -> None:
    child = start_child("child", [sys.executable, "-c", ""], {}, tmp_path / "log")
    child.process.wait(timeout=30)
    child.stop()
    child.stop()


def test_free_ports_are_distinct() -> None:
    assert len(set(free_ports(5))) == 5


def test_missing_model_pair_is_a_clear_error(tmp_path: Path) -> None:
    with (
        pytest.raises(ServiceError, match=r"edge-f16\.gguf is missing"),
        local_services(tmp_path / "state", tmp_path / "models", "demo"),
    ):
        pass


def test_cloud_model_is_the_pairs_own_or_the_one_its_generator_names(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"generator\.json does not say which cloud model"):
        generator_source(tmp_path)
    manifest = tmp_path / "generator/generator.json"
    manifest.parent.mkdir()
    manifest.write_text(json.dumps({"cloud_model": {"id": "package:carrier", "digest": "d"}}))
    places = {"directory": str(tmp_path / "generator"), "edge_model": str(tmp_path / "edge")}
    assert generator_source(tmp_path) == places | {"cloud_model": "package:carrier"}
    (tmp_path / "cloud").mkdir()
    assert generator_source(tmp_path) == places | {"cloud_model": str(tmp_path / "cloud")}


def test_main_says_what_failed_and_returns_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--tasks", str(tmp_path)]) == 1
    assert "no task files" in capsys.readouterr().err
