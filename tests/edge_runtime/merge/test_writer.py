"""A model file appears whole or not at all, whatever ends its writing."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from edge_runtime.errors import (
    MergeCancelledError,
    OutputError,
)
from edge_runtime.gguf.quantization import Codec, Quantization
from edge_runtime.merge import merge
from edge_runtime.merge.writer import merging_threads
from loragen.contract.bundle import encode_bundle
from tests.full_disk import full_disk


def test_full_disk_is_noticed_before_any_work(base_gguf, bundle, tmp_path):
    (tmp_path / "out.gguf").write_bytes(b"old")
    calls: list[object] = []
    with full_disk(100_000), pytest.raises(OutputError, match="no space left") as caught:
        merge(base_gguf, bundle, tmp_path / "out.gguf", Quantization.Q4_0, progress=lambda *call: calls.append(call))
    assert caught.value.code == "output_not_written"
    assert "free" in caught.value.hint
    assert calls == []
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("out.gguf", b"old")]


@pytest.mark.parametrize("with_cache", [False, True])
def test_disk_that_fills_up_while_merging_leaves_the_old_file_alone(
    with_cache, base_gguf, bundle, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: None)
    (tmp_path / "out.gguf").write_bytes(b"old")
    with full_disk(100_000), pytest.raises(OutputError, match="no space left"):
        merge(
            base_gguf,
            bundle,
            tmp_path / "out.gguf",
            Quantization.Q4_0,
            cache_dir=tmp_path / "cache" if with_cache else None,
        )
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert [(p.name, p.read_bytes()) for p in files] == [("out.gguf", b"old")]


def test_cancelled_merge_leaves_no_file(base_gguf, bundle, tmp_path):
    def cancel(done: int, total: int) -> None:
        if done > total // 2:
            raise MergeCancelledError("shutting down")

    with pytest.raises(MergeCancelledError):
        merge(base_gguf, bundle, tmp_path / "out.gguf", Quantization.Q4_0, progress=cancel)
    assert list(tmp_path.iterdir()) == []


def test_killed_merge_leaves_the_old_file_and_the_next_one_succeeds(base_gguf, bundle, tmp_path):
    (tmp_path / "bundle.safetensors").write_bytes(encode_bundle(bundle))
    (tmp_path / "out.gguf").write_bytes(b"old")
    script = """
        import os, signal, sys
        from pathlib import Path
        from loragen.contract.bundle import parse_bundle
        from edge_runtime.gguf.quantization import Quantization
        from edge_runtime.merge import merge

        def die(done, total):
            if done > total // 2:
                os.kill(os.getpid(), signal.SIGKILL)

        base_gguf, folder = Path(sys.argv[1]), Path(sys.argv[2])
        bundle = parse_bundle((folder / "bundle.safetensors").read_bytes())
        merge(base_gguf, bundle, folder / "out.gguf", Quantization.Q4_0, progress=die)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(base_gguf), str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "out.gguf").read_bytes() == b"old"
    assert (tmp_path / "out.gguf.partial").exists()
    report = merge(base_gguf, bundle, tmp_path / "out.gguf", Quantization.Q4_0)
    assert (tmp_path / "out.gguf").stat().st_size == report.bytes
    assert not (tmp_path / "out.gguf.partial").exists()


def test_two_merges_to_one_file_do_not_mix(base_gguf, bundle, tmp_path):
    def second(done: int, total: int) -> None:
        with pytest.raises(OutputError, match="another process"):
            merge(base_gguf, bundle, tmp_path / "out.gguf", Quantization.Q8_0)

    report = merge(base_gguf, bundle, tmp_path / "out.gguf", Quantization.Q4_0, progress=second)
    assert (tmp_path / "out.gguf").stat().st_size == report.bytes


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority for each thread")
def test_what_computes_a_merge_comes_behind_what_answers(base_gguf, bundle, tmp_path, monkeypatch):
    encode, found = Codec.encode, set()

    def noted(codec, weights, dtype, name):
        found.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return encode(codec, weights, dtype, name)

    monkeypatch.setattr(Codec, "encode", noted)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    merge(base_gguf, bundle, tmp_path / "out.gguf", Quantization.Q4_0, cache_dir=tmp_path / "cache")
    assert found == {max(before, 10)}
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_a_merge_computes_with_no_more_threads_than_there_are_processors(monkeypatch):
    for processors, expected in ((1, 1), (2, 2), (8, 2)):
        monkeypatch.setattr("edge_runtime.merge.writer.usable_processors", lambda count=processors: count)
        with merging_threads() as pool:
            waiting = threading.Barrier(expected + 1)
            others = [pool.submit(waiting.wait, 10) for _ in range(expected)]
            waiting.wait(10)  # all of them run at a time
            extra = [pool.submit(threading.get_ident) for _ in range(8)]
            assert len({each.result() for each in extra}) <= expected
            assert all(each.result() is not None for each in others)
