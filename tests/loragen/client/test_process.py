"""Child processes: started with exactly their settings, ended on every way out."""

from pathlib import Path

import httpx2
import pytest

from loragen import CloudClient
from loragen.client.errors import StackError, WaitError
from loragen.client.process import ServiceProcess, free_ports
from tests.loragen.client.scripted import Scripted, refused

SLEEP = ["-c", "import time; time.sleep(600)"]


def test_child_sees_its_settings_and_none_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_CLOUD_PORT", "1")
    script = "import os; print(sorted(k for k in os.environ if k.startswith('LORAGEN_')))"
    with ServiceProcess("child", ["-c", script], {"LORAGEN_EDGE_PORT": "2"}, tmp_path / "log") as child:
        child.verify_success()
    assert child.log.read_text().strip() == "['LORAGEN_EDGE_PORT']"


def test_child_that_ends_early_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    script = ["-c", "print('x\\n' * 99); raise SystemExit('no port')"]
    with ServiceProcess("cloud_service", script, {}, tmp_path / "log") as child:
        child.process.wait(30)
        for verify in (child.verify_alive, child.verify_success):
            with pytest.raises(StackError, match=r"(?s)cloud_service ended with exit code 1.*\nno port$") as caught:
                verify()
            assert len(str(caught.value).splitlines()) < 25


def test_block_ends_a_running_child(tmp_path: Path) -> None:
    with ServiceProcess("child", SLEEP, {}, tmp_path / "log") as child:
        child.verify_alive()
    assert child.process.returncode is not None
    child.stop()


def test_wait_ends_with_readiness_with_the_process_or_with_the_time(tmp_path: Path) -> None:
    ready, draining = httpx2.Response(200, json={"status": "ready"}), refused(503, "draining")
    with ServiceProcess("child", SLEEP, {}, tmp_path / "log") as child:
        with CloudClient("http://cloud", transport=Scripted(draining, ready)) as cloud:
            child.wait_until_ready(cloud)
        with (
            CloudClient("http://cloud", transport=Scripted(draining)) as cloud,
            pytest.raises(WaitError, match="it is draining"),
        ):
            child.wait_until_ready(cloud, timeout_seconds=0)
    with CloudClient("http://cloud", transport=Scripted(draining)) as cloud, pytest.raises(StackError):
        child.wait_until_ready(cloud)


def test_free_ports_are_distinct() -> None:
    assert len(set(free_ports(5))) == 5
