"""How the parts of a device are put together."""

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from edge_runtime.bootstrap import open_parts
from edge_runtime.config import EdgeSettings
from edge_runtime.errors import ModelLoadError
from edge_runtime.processors import usable_processors
from loragen.web.errors import ConfigurationError
from tests.edge_runtime.fakes import FakeLoader


def settings_of(directory: Path, tiny_base: Path, **more: object) -> EdgeSettings:
    return EdgeSettings.model_validate({"base_model": tiny_base, "data_dir": directory, **more})


def nameless_base(tiny_base: Path, path: Path) -> Path:
    """A base GGUF that does not say which model it is."""
    path.write_bytes(tiny_base.read_bytes().replace(b"loragen.edge_model.", b"another.edge_model."))
    return path


async def test_device_without_a_cloud_never_polls(tmp_path: Path, tiny_base: Path) -> None:
    async with open_parts(settings_of(tmp_path, tiny_base), FakeLoader()) as parts:
        assert parts.updater.poller is None
    cloud = {"cloud_url": "http://127.0.0.1:9", "allow_unsigned": True}
    async with open_parts(settings_of(tmp_path, tiny_base, **cloud), FakeLoader()) as parts:
        assert parts.updater.poller is not None


async def test_unsigned_channel_is_logged_at_the_start(tmp_path: Path, tiny_base: Path) -> None:
    cloud = {"cloud_url": "http://127.0.0.1:9", "allow_unsigned": True}
    with capture_logs() as logs:
        async with open_parts(settings_of(tmp_path, tiny_base, **cloud), FakeLoader()):
            pass
    assert [log["log_level"] for log in logs if log["event"] == "channel_unsigned"] == ["warning"]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff", b"[" * 60_000])
async def test_root_that_is_none_stops_the_start(tmp_path: Path, tiny_base: Path, content: bytes | None) -> None:
    root = tmp_path / "root.json"
    if content is not None:
        root.write_bytes(content)
    settings = settings_of(tmp_path, tiny_base, cloud_url="http://127.0.0.1:9", trusted_root=root)
    with pytest.raises(ConfigurationError, match="LORAGEN_EDGE_TRUSTED_ROOT"):
        async with open_parts(settings, FakeLoader()):
            pass


async def test_directory_belongs_to_one_device_until_the_block_is_left(tmp_path: Path, tiny_base: Path) -> None:
    settings = settings_of(tmp_path, tiny_base)
    async with open_parts(settings, FakeLoader()):
        with pytest.raises(ConfigurationError):
            async with open_parts(settings, FakeLoader()):
                pass
    async with open_parts(settings, FakeLoader()):
        pass


async def test_device_that_is_started_twice_by_mistake_forgets_no_model(tmp_path: Path, tiny_base: Path) -> None:
    other = nameless_base(tiny_base, tmp_path / "other.gguf")
    data_dir = tmp_path / "edge"
    notes = [data_dir / "cache/model.json", data_dir / "cache/base.json"]
    async with open_parts(settings_of(data_dir, tiny_base), FakeLoader()):
        before = [note.read_bytes() if note.exists() else b"" for note in notes]
        assert before[0]
        with pytest.raises(ConfigurationError, match="another daemon"):
            async with open_parts(settings_of(data_dir, other), FakeLoader()):
                pass
        assert [note.read_bytes() if note.exists() else b"" for note in notes] == before


@pytest.mark.parametrize(("threads", "most"), [(0, usable_processors()), (1, 1)])
async def test_status_says_how_many_threads_pay(tmp_path: Path, tiny_base: Path, threads: int, most: int) -> None:
    async with open_parts(settings_of(tmp_path, tiny_base, threads=threads)) as parts:
        assert parts.device.status().threads == most
        await parts.updater.restore()
        assert 1 <= parts.device.status().threads <= most


async def test_gauges_read_the_parts(tmp_path: Path, tiny_base: Path) -> None:
    async with open_parts(settings_of(tmp_path, tiny_base), FakeLoader()) as parts:
        await parts.updater.restore()
        text = generate_latest(parts.telemetry.registry).decode()
    assert "loragen_edge_resident_slots 1.0" in text
    assert "loragen_edge_sequences_in_use 0.0" in text
    assert "loragen_edge_queue_depth 0.0" in text
    assert "loragen_edge_channel_version 0.0" in text


def test_device_without_grpc_does_not_load_it() -> None:
    """It is 10 MB that a small device has better use for."""
    script = "import sys, edge_runtime.bootstrap; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


async def test_llama_that_does_not_run_here_is_named(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system library that is missing, say: the package is found, and cannot be imported."""
    monkeypatch.setitem(sys.modules, "edge_runtime.serving.llama", None)
    async with open_parts(settings_of(tmp_path, tiny_base)) as parts:
        with pytest.raises(ModelLoadError, match=r"llama\.cpp cannot be loaded.*"):
            await parts.updater.restore()
