"""A base GGUF that is lost: what was made of it serves on, and the device says so, until it is back."""

import errno
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

import edge_runtime.merge.merger
from edge_runtime.bootstrap import Parts, open_parts
from edge_runtime.errors import BaseGgufUnreadableError
from loragen.contract.errors import FormatError
from loragen.web.errors import ConfigurationError
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import LONG, FakeClock, FlakyLoader, ask, device, entry, make_settings
from tests.edge_runtime.test_bootstrap import nameless_base
from tests.edge_runtime.updates.test_updater_base import other_base


def _remove(path: Path) -> None:
    path.unlink()


def _zero_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(4096))


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _bring_back(path: Path, tiny_base: Path) -> None:
    path.write_bytes(tiny_base.read_bytes())


def _copy_part(source: Path, path: Path, share: float) -> None:
    """As a copier does that sets the size first."""
    data = source.read_bytes()
    written = int(len(data) * share)
    path.write_bytes(data[:written] + bytes(len(data) - written))


async def _ticks_until_back(parts: Parts) -> None:
    for _ in range(2):
        await parts.updater.tick()
    assert parts.device.base.model.problem == ""
    await parts.device.base.quantize_pending()


lost_in_any_way = pytest.mark.parametrize("lose", [_remove, _zero_header, _truncate])


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Path:
    path = tmp_path / "base.gguf"
    path.write_bytes(tiny_base.read_bytes())
    return path


@lost_in_any_way
async def test_device_without_its_base_gguf_serves_what_was_made_of_it(
    cloud: FakeCloud, base: Path, tiny_base: Path, tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    """And what can be attached to it; once the base GGUF is back, what is new is merged."""
    first, second = cloud.make("router", 1), cloud.make("desk", 2)
    cloud.publish(first)
    clock, settings = FakeClock(), make_settings(tmp_path / "edge", base, cloud.url)
    async with device(settings, clock) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        before = [await ask(parts, name) for name in ("base", "router")]
        assert before[1][1] == f"merged-{first.bundle_id}"
    lose(base)
    cloud.publish(second)
    with capture_logs() as logs:
        async with device(settings, clock) as parts:
            assert [await ask(parts, name) for name in ("base", "router")] == before
            await parts.updater.tick()
            assert (await ask(parts, "desk"))[1] == f"adapter-{second.bundle_id}"
            assert await parts.updater.merge_pending() == 0
            assert parts.device.not_ready_reason() is None
            assert "base.gguf" in parts.device.models()[0].message
            assert "nothing is merged without" in parts.device.models()[0].message
            clock.advance(LONG)
            _bring_back(base, tiny_base)
            await _ticks_until_back(parts)
            assert parts.device.models()[0].message == ""
            assert await ask(parts, "base") == before[0]
            assert await parts.updater.merge_pending() == 1
            assert (await ask(parts, "desk"))[1] == f"merged-{second.bundle_id}"
            await parts.updater.tick()
            assert len([*(tmp_path / "edge/slots").glob("base.*.gguf")]) == 1
    assert [record["event"] for record in logs if record["event"].startswith("base_gguf")] == [
        "base_gguf_lost",
        "base_gguf_found",
    ]


@lost_in_any_way
async def test_base_gguf_that_serves_itself_is_missed_alone(
    cloud: FakeCloud, base: Path, tiny_base: Path, tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    """A request for the base is told when to ask again; what is merged answers, and the device is ready."""
    first, second = cloud.make("router", 1), cloud.make("desk", 2)
    cloud.publish(first)
    clock, settings = FakeClock(), make_settings(tmp_path / "edge", base, cloud.url, quantization="F16")
    async with device(settings, clock) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        answer = await ask(parts, "router")
        assert answer[1] == f"merged-{first.bundle_id}"
    lose(base)
    cloud.publish(second)
    async with device(settings, clock) as parts:
        assert await ask(parts, "router") == answer
        assert parts.device.not_ready_reason() is None
        assert (parts.device.models()[0].state, entry(parts, "router").context_length) == ("failed", 256)
        client = TestClient(parts.app, base_url="http://127.0.0.1")
        for model in ("base", "tiny-edge"):
            refused = client.post("/v1/completions", json={"model": model, "prompt": "a", "max_tokens": 1})
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
            assert "base.gguf" in refused.json()["error"]["message"]
        await parts.updater.tick()
        assert entry(parts, "desk").state == "failed"
        assert "base.gguf" in entry(parts, "desk").message
        _bring_back(base, tiny_base)
        # What failed for want of the base waits no longer.
        await _ticks_until_back(parts)
        assert (parts.device.models()[0].state, parts.device.models()[0].message) == ("base", "")
        assert (await ask(parts, "base"))[1] == "base"
        assert (await ask(parts, "desk"))[1] == f"adapter-{second.bundle_id}"


async def test_base_gguf_that_is_back_and_does_not_load_is_tried_again_later_and_later(
    cloud: FakeCloud, base: Path, tiny_base: Path, tmp_path: Path
) -> None:
    """Memory was short for a while; nobody can ask for the base meanwhile, so no request finds it broken."""
    cloud.publish(cloud.make("router", 1))
    settings, loader = make_settings(tmp_path / "edge", base, cloud.url, quantization="F16"), FlakyLoader()
    async with device(settings, loader=loader) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
    _remove(base)
    clock, tries = FakeClock(), list[float]()

    def refuse(path: Path) -> bool:
        if path == base:
            tries.append(clock.now)
        return path == base

    async with device(settings, clock, loader) as parts:
        _bring_back(base, tiny_base)
        loader.refuses = refuse
        for _ in range(1000):
            await parts.updater.tick()
            clock.advance(1)
        waits = [after - before for before, after in pairwise(tries)]
        assert len(tries) < 10
        assert waits == sorted(waits)
        assert parts.device.models()[0].state == "failed"
        assert "out of memory" in parts.device.models()[0].message
        loader.refuses = lambda path: False
        clock.advance(LONG)
        await _ticks_until_back(parts)
        assert (parts.device.models()[0].state, parts.device.models()[0].message) == ("base", "")


async def test_base_gguf_that_does_not_load_and_is_replaced_is_tried_at_once(
    base: Path, tiny_base: Path, tmp_path: Path
) -> None:
    settings, loader = make_settings(tmp_path / "edge", base, None), FlakyLoader()
    async with device(settings, loader=loader):
        pass
    _remove(base)
    async with device(settings, loader=loader) as parts:
        for _ in range(10):
            _copy_part(tiny_base, base, 0)
            for _ in range(2):
                await parts.updater.tick()
        assert parts.device.base.model.problem
        _remove(base)
        _bring_back(base, tiny_base)
        await _ticks_until_back(parts)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "input/output error"), FormatError("it ends inside a tensor")])
async def test_base_gguf_whose_digest_cannot_be_computed_is_not_back(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """And ends no tick, which has other things to do."""
    nameless = nameless_base(base, tmp_path / "nameless.gguf")
    _bring_back(base, nameless)
    settings = make_settings(tmp_path / "edge", base, None)
    async with device(settings):
        pass
    _remove(base)
    clock = FakeClock()
    async with device(settings, clock) as parts:
        _bring_back(base, nameless)
        with monkeypatch.context() as patched:
            patched.setattr("edge_runtime.updates.device_model.model_digest", Mock(side_effect=error))
            for _ in range(3):
                await parts.updater.tick()
            assert error.args[-1] in parts.device.base.model.problem
        clock.advance(LONG)
        await _ticks_until_back(parts)
        assert parts.device.base.message == ""


async def test_base_gguf_that_is_still_copied_is_not_back(base: Path, tiny_base: Path, tmp_path: Path) -> None:
    """A copier may set the size first, so that the header alone looks whole; without a cloud it takes no hour."""
    settings = make_settings(tmp_path / "edge", base, None)
    async with device(settings) as parts:
        before = await ask(parts, "base")
    _remove(base)
    async with device(settings) as parts:
        for part in (2, 3, 4):
            _copy_part(tiny_base, base, 1 - 1 / part)
            assert await parts.updater.tick() < 10
            assert parts.device.base.model.problem
            assert await ask(parts, "base") == before
        _bring_back(base, tiny_base)
        await _ticks_until_back(parts)
        assert await ask(parts, "base") == before
        assert parts.device.base.message == ""


async def test_base_gguf_that_is_written_while_it_is_quantized_is_not_back(
    base: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was made of half a file serves never, nor does that file."""
    settings = make_settings(tmp_path / "edge", base, None)
    async with device(settings) as parts:
        before = await ask(parts, "base")
    _remove(base)
    really = edge_runtime.merge.merger.quantize_base

    def quantize(*arguments: Any) -> Path:
        out = really(*arguments)
        _copy_part(tiny_base, base, 0.9)
        return out

    async with device(settings) as parts:
        _copy_part(tiny_base, base, 0.5)
        with monkeypatch.context() as patched:
            patched.setattr("edge_runtime.merge.merger.quantize_base", quantize)
            for _ in range(2):
                await parts.updater.tick()
            assert await ask(parts, "base") == before
            await parts.updater.merge_pending()
        assert "was written while it was read" in parts.device.base.model.problem
        assert await ask(parts, "base") == before
        _bring_back(base, tiny_base)
        await _ticks_until_back(parts)
        assert await ask(parts, "base") == before
        assert parts.device.base.message == ""


async def test_device_that_starts_while_its_base_gguf_is_written_serves_what_is_merged(
    cloud: FakeCloud, base: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.publish(cloud.make("router", 1))
    settings = make_settings(tmp_path / "edge", base, cloud.url)
    async with device(settings) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        before = [await ask(parts, name) for name in ("base", "router")]
    really = edge_runtime.merge.merger.quantize_base

    def quantize(*arguments: Any) -> Path:
        out = really(*arguments)
        _copy_part(tiny_base, base, 0.9)
        return out

    _copy_part(tiny_base, base, 0.5)
    monkeypatch.setattr("edge_runtime.merge.merger.quantize_base", quantize)
    async with device(settings) as parts:
        monkeypatch.undo()
        assert parts.device.models()[0].state == "failed"
        assert await ask(parts, "router") == before[1]
        _bring_back(base, tiny_base)
        await _ticks_until_back(parts)
        assert [await ask(parts, name) for name in ("base", "router")] == before


async def test_device_that_has_nothing_to_serve_without_its_base_gguf_refuses_the_start(
    base: Path, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path / "edge", base, None, quantization="F16")
    async with device(settings):
        pass
    _remove(base)
    async with open_parts(settings) as parts:
        with pytest.raises(BaseGgufUnreadableError, match="LORAGEN_EDGE_BASE_MODEL"):
            await parts.daemon.run()


async def test_base_gguf_that_was_never_there_refuses_the_start(base: Path, tmp_path: Path) -> None:
    """As does a setting that names another: a slip of the keyboard is no lost disk."""
    async with device(make_settings(tmp_path / "edge", base, None)):
        pass
    with pytest.raises(ConfigurationError, match=r"LORAGEN_EDGE_BASE_MODEL.*bsae"):
        async with open_parts(make_settings(tmp_path / "edge", tmp_path / "bsae.gguf", None)):
            pass
    _remove(base)
    with pytest.raises(ConfigurationError, match=r"LORAGEN_EDGE_BASE_MODEL.*base"):
        async with open_parts(make_settings(tmp_path / "edge", base, None, quantization="Q4_0")):
            pass


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff", b'{"path": 3}'])
async def test_what_is_remembered_of_the_model_and_cannot_be_read_is_nothing(
    base: Path, tmp_path: Path, content: bytes | None
) -> None:
    settings = make_settings(tmp_path / "edge", base, None)
    async with device(settings):
        pass
    remembered = tmp_path / "edge/cache/model.json"
    for _ in range(2):
        remembered.unlink() if content is None else remembered.write_bytes(content)
        assert remembered.exists() == (content is not None)
        async with device(settings):
            pass
    remembered.unlink() if content is None else remembered.write_bytes(content)
    _remove(base)
    with pytest.raises(ConfigurationError, match="LORAGEN_EDGE_BASE_MODEL"):
        async with open_parts(settings):
            pass


async def test_another_model_is_not_taken_for_the_one_that_was_lost(
    cloud: FakeCloud, base: Path, tiny_base: Path, tmp_path: Path
) -> None:
    cloud.publish(cloud.make("router", 1))
    clock, settings = FakeClock(), make_settings(tmp_path / "edge", base, cloud.url)
    async with device(settings, clock):
        pass
    _remove(base)
    async with device(settings, clock) as parts:
        other_base(tiny_base, base, cloud.edge_model_digest)
        for _ in range(2):
            await parts.updater.tick()
        assert "is edge model ffffffff" in parts.device.base.model.problem
        assert await parts.updater.merge_pending() == 0
        assert entry(parts, "router").state == "adapter"
