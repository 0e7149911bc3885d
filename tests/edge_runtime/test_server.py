"""The device as a process of its own: it comes up, follows, serves, and stops at a signal."""

import json
import signal
import socket
import time
from pathlib import Path

import pytest

from loragen import DeviceClient
from loragen.client.process import ServiceProcess, free_ports
from loragen.client.retries import Deadline
from loragen.web.tls import client_context
from tests.certificates import Authority
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import without_weights


def running(log: Path, **settings: object) -> ServiceProcess:
    """`python -m edge_runtime` with these settings."""
    environment = {f"LORAGEN_EDGE_{name.upper()}": str(value) for name, value in settings.items()}
    return ServiceProcess("edge_runtime", ["-m", "edge_runtime"], environment, log)


@pytest.mark.slow
def test_device_runs_as_a_process_and_survives_a_kill(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    """Up, merged, killed without warning, up again without its cloud, and down in order at SIGTERM with code 0."""
    (port,) = free_ports(1)
    settings = {
        "cloud_url": cloud.url.replace("://", "://kitchen:hunter2@"),
        "allow_unsigned": True,
        "base_model": tiny_base,
        "data_dir": tmp_path / "edge",
        "port": port,
        "poll_interval_seconds": 0.2,
        "context_tokens": 256,
        "threads": 1,
        "log_format": "json",
    }
    wanted = cloud.make("router")
    cloud.publish(wanted)
    first_log, log = tmp_path / "first.log", tmp_path / "second.log"
    with DeviceClient(f"http://127.0.0.1:{port}") as device:
        with running(first_log, **settings) as child:
            child.wait_until_ready(device)
            device.wait_until_serving("router", wanted.bundle_id, merged=True)
            first = device.chat("router", "The quick brown", temperature=0)
            assert without_weights(first.fingerprint) == f"merged-{wanted.bundle_id}"
            child.process.kill()
        cloud.fail("/", hang_up=True)
        with running(log, **settings) as child:
            child.wait_until_ready(device)
            again = device.chat("router", "The quick brown", temperature=0)
            assert (again.text, again.fingerprint) == (first.text, first.fingerprint)
            assert device.status().channel_version == 1
            child.process.send_signal(signal.SIGTERM)
            assert child.process.wait(30) == 0, log.read_text()
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events[:2] == ["channel_unsigned", "serving"]
    assert events[-1] == "stopped"
    assert {"request", "update"} <= set(events)
    for text in (first_log.read_text(), log.read_text()):
        assert "The quick brown" not in text
        assert "hunter2" not in text


@pytest.mark.slow
def test_stream_in_flight_is_finished_before_the_process_ends(tiny_base: Path, tmp_path: Path) -> None:
    (port,), log = free_ports(1), tmp_path / "log"
    settings = {"base_model": tiny_base, "data_dir": tmp_path / "edge", "threads": 1, "quantization": "Q8_0"}
    with running(log, port=port, **settings) as child, DeviceClient(f"http://127.0.0.1:{port}") as device:
        child.wait_until_ready(device)
        chunks = device.stream_complete("base", "The", max_tokens=200, temperature=0)
        next(chunks)
        child.process.send_signal(signal.SIGTERM)
        assert list(chunks)[-1].usage is not None
        assert child.process.wait(30) == 0, log.read_text()


@pytest.mark.slow
def test_start_that_cannot_work_is_one_line_and_a_hint(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(log, base_model=tmp_path / "nothing.gguf", data_dir=tmp_path / "edge") as child:
        assert child.process.wait(60) == 1
    text = log.read_text()
    assert "LORAGEN_EDGE_BASE_MODEL" in text
    assert "hint:" in text
    assert "Traceback" not in text


@pytest.mark.slow
def test_device_speaks_https_and_takes_a_replaced_certificate(tiny_base: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    first, second = authority.sign("first"), authority.sign("second")
    (port,), log = free_ports(1), tmp_path / "log"
    files = {"tls_certificate": first.certificate, "tls_key": first.key}
    settings = {"base_model": tiny_base, "data_dir": tmp_path / "edge", "threads": 1, "quantization": "Q8_0"}
    with running(log, port=port, **settings, **files) as child:
        deadline = Deadline(60)
        while (shown := _shown_name(port, authority)) is None and deadline.remaining_seconds > 0:
            time.sleep(0.05)
        assert shown == "first", log.read_text()
        for new, old in ((second.certificate, first.certificate), (second.key, first.key)):
            new.replace(old)
        _shown_name(port, authority)  # reads the files again
        assert _shown_name(port, authority) == "second"
        assert child.process.poll() is None


def _shown_name(port: int, authority: Authority) -> str | None:
    """The name in the device's certificate, after a request over HTTPS; None while it does not listen."""
    try:
        connection = socket.create_connection(("127.0.0.1", port), 10)
    except ConnectionRefusedError:
        return None
    with client_context(authority.file).wrap_socket(connection, server_hostname="127.0.0.1") as tls:
        tls.sendall(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert tls.recv(12) == b"HTTP/1.1 200"
        certificate = tls.getpeercert()
    assert certificate is not None
    return str(dict(pair for (pair,) in certificate["subject"])["commonName"])  # type: ignore[misc]


@pytest.mark.slow
def test_certificate_that_does_not_serve_is_a_clear_error(tiny_base: Path, tmp_path: Path) -> None:
    log, pair = tmp_path / "log", Authority(tmp_path).sign("device")
    files = {"tls_certificate": pair.certificate, "tls_key": tmp_path / "absent.key"}
    with running(log, base_model=tiny_base, data_dir=tmp_path / "edge", **files) as child:
        assert child.process.wait(60) == 1
    assert "absent.key" in log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.mark.slow
def test_port_that_is_taken_is_a_clear_error(tiny_base: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with running(log, base_model=tiny_base, data_dir=tmp_path / "edge", port=port) as child:
            assert child.process.wait(60) == 1
    assert "LORAGEN_EDGE_PORT" in log.read_text()
    assert "Traceback" not in log.read_text()
