"""`loragen-edge` as its users see it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edge_runtime.cli import app
from edge_runtime.commands import listening
from edge_runtime.gguf.base_gguf import BaseGguf
from edge_runtime.telemetry import UpdateRecord
from edge_runtime.updates.disk import DataDirectory
from edge_runtime.updates.history import History
from edge_runtime.updates.lock import locked
from edge_runtime.updates.state import Command, DeviceState, Entry, Failure, Installed, StateFile
from loragen.contract.bundle import content_id
from loragen.contract.gguf_header import read_header
from loragen.contract.names import BUNDLE_ID
from tests.adapters import random_adapter
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.merge.test_ollama import parse_modelfile
from tests.edge_runtime.tiny_models import Gguf, byte_level_tokenizer, llama_config, random_model, save_tokenizer
from tests.loopback_server import LoopbackServer, QuietHandler

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("LORAGEN_EDGE_DATA_DIR", str(tmp_path / "edge"))
    monkeypatch.setenv("LORAGEN_EDGE_PORT", "9")
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


def keep_state(directory: Path) -> None:
    disk = DataDirectory(directory)
    for bundle_id in (ONE, TWO):
        disk.bundle(bundle_id).touch()
    StateFile(directory / "state.json").store(
        DeviceState(
            "e" * 64,
            "default",
            4,
            {
                "router": Entry(
                    Installed(TWO, "adapter", 9, 1, message="kept"), previous=Installed(ONE, "adapter", 9, 1)
                )
            },
            {"other": Failure(ONE, "mismatch", "another base", 1, True)},
        )
    )


@pytest.mark.parametrize("type_name", ["Q4_K", "q8_0"])
def test_merge_works_alone(cli: CliRunner, cloud: FakeCloud, tiny_base: Path, tmp_path: Path, type_name: str) -> None:
    """A bundle file and a base GGUF give a model and a report; no device, no cloud."""
    data = cloud.bundles[cloud.make("router").bundle_id]
    (tmp_path / "bundle.safetensors").write_bytes(data)
    out = tmp_path / "merged.gguf"
    result = cli.invoke(
        app, ["merge", str(tiny_base), str(tmp_path / "bundle.safetensors"), "-o", str(out), "--type", type_name]
    )
    assert result.exit_code == 0, result.output
    assert content_id(data) in result.output
    assert "retained delta" in result.output
    assert read_header(out).string(BUNDLE_ID) == content_id(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-10], "invalid_format"),
        (lambda data: b"", "invalid_format"),
        (lambda data: data.replace(b'"loragen.version":"1"', b'"loragen.version":"7"'), "unsupported_format_version"),
    ],
)
def test_merge_of_an_unfit_bundle_is_one_line_and_leaves_no_file(
    cli: CliRunner, cloud: FakeCloud, tiny_base: Path, tmp_path: Path, change: object, message: str
) -> None:
    assert callable(change)
    data = change(cloud.bundles[cloud.make("router").bundle_id])
    (tmp_path / "bundle.safetensors").write_bytes(data)
    out = tmp_path / "merged.gguf"
    result = cli.invoke(app, ["merge", str(tiny_base), str(tmp_path / "bundle.safetensors"), "-o", str(out)])
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
    assert not out.exists()


def test_own_adapter_becomes_a_folder_for_ollama(
    cli: CliRunner, tiny_base: Path, tmp_path: Path, open_gguf: Callable[[Path], Gguf]
) -> None:
    """llama.cpp loads the model; the answer contract lies beside the adapter, and its codes are warned of."""
    with BaseGguf(tiny_base) as base_gguf:
        adapter = random_adapter(base_gguf.linears)
    folder, out = tmp_path / "mine", tmp_path / "out"
    folder.mkdir()
    (folder / "adapter_config.json").write_bytes(adapter.config)
    (folder / "adapter_model.safetensors").write_bytes(adapter.weights)
    (folder / "answer.json").write_text('{"type": "choice", "choices": ["yes", "no"], "codes": [5, 7]}')
    arguments = ["merge", str(tiny_base), str(folder), "-o", str(out), "--type", "Q8_0", "--ollama"]
    result = cli.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "code tokens" in result.output
    assert parse_modelfile((out / "Modelfile").read_text()) == {"FROM": "./model.gguf", "PARAMETER": "temperature 0"}
    assert sorted(path.name for path in out.iterdir()) == ["Modelfile", "model.gguf"]
    assert np.isfinite(open_gguf(out / "model.gguf").logits([1, 2, 3])).all()


def test_output_is_neither_base_nor_bundle(cli: CliRunner, cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    data = cloud.bundles[cloud.make("router").bundle_id]
    bundle, base = tmp_path / "bundle.safetensors", tmp_path / "base.gguf"
    bundle.write_bytes(data)
    base.write_bytes(tiny_base.read_bytes())
    for out in (bundle, base):
        result = cli.invoke(app, ["merge", str(base), str(bundle), "-o", str(out)])
        assert result.exit_code == 1
        assert "would be lost" in result.output
    assert (bundle.read_bytes(), base.read_bytes()) == (data, tiny_base.read_bytes())


def test_merge_to_an_unknown_type_names_the_known_ones(cli: CliRunner, tiny_base: Path, tmp_path: Path) -> None:
    result = cli.invoke(app, ["merge", str(tiny_base), str(tiny_base), "-o", str(tmp_path / "out"), "--type", "Q3_X"])
    assert result.exit_code == 2
    assert "q4_k" in result.output.lower()


def test_convert_makes_a_base(cli: CliRunner, tmp_path: Path) -> None:
    directory = tmp_path / "model"
    random_model(llama_config(num_hidden_layers=1)).save_pretrained(directory)
    save_tokenizer(byte_level_tokenizer(), directory)
    out = tmp_path / "base.gguf"
    result = cli.invoke(app, ["convert", str(directory), "-o", str(out), "--type", "f16", "--model-id", "org/tiny"])
    assert result.exit_code == 0, result.output
    with BaseGguf(out) as base_gguf:
        assert base_gguf.model_id == "org/tiny"
        assert base_gguf.digest
    refused = cli.invoke(app, ["convert", str(directory), "-o", str(out), "--model-id", "../x"])
    assert (refused.exit_code, "invalid_format" in refused.output) == (1, True)


def test_status_without_a_device_shows_the_disk(cli: CliRunner, tmp_path: Path) -> None:
    keep_state(tmp_path / "edge")
    result = cli.invoke(app, ["status"])
    assert result.exit_code == 0, result.output
    for text in ("No device answers", "router", "adapter", "kept", "other", "another base", "version 4"):
        assert text in result.output


def test_status_of_a_corrupt_state_says_so_and_moves_nothing(cli: CliRunner, tmp_path: Path) -> None:
    DataDirectory(tmp_path / "edge")
    (tmp_path / "edge/state.json").write_text("{")
    result = cli.invoke(app, ["status"])
    assert result.exit_code == 0
    assert "state.json:" in result.output
    assert (tmp_path / "edge/state.json").read_text() == "{"


def test_status_of_a_running_device(cli: CliRunner) -> None:
    report = {
        "device_id": "dev-1",
        "version": "0.1.0",
        "ready": True,
        "reason": "",
        "edge_model_id": "tiny-edge",
        "quantization": "Q4_K",
        "channel": "default",
        "channel_version": 7,
        "last_poll": "cloud_unreachable",
        "last_poll_message": "no answer in time",
        "trust": {
            "root_version": 3,
            "timestamp_expires_at": 1_700_000_000.0,
            "last_refusal": "not signed",
            "last_refusal_at": 1_699_999_999,
        },
        "problem": "",
        "models": [
            {
                "id": "router",
                "state": "merged",
                "bundle_id": ONE,
                "retained_delta": 0.98765,
                "merge_seconds": 0.5,
                "resident": True,
                "pinned": True,
                "message": "a newer bundle failed: [bold]mismatch",
            }
        ],
    }

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(report).encode())

    with LoopbackServer(Handler) as server:
        result = cli.invoke(app, ["status", "--url", server.url])
    assert result.exit_code == 0, result.output
    for text in (
        "dev-1: ready",
        "version 7",
        "no answer in time",
        "signatures: root version 3, good until 2023-11-14 22:13:20 UTC; last refusal 2023-11-14 22:13:19 UTC: not",
        "router",
        "merged, pinned",
        "0.9877",
        "0.50 s",
        "[bold]mismatch",
    ):
        assert text in result.output


def test_status_of_a_device_that_asks_for_a_key(
    cli: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings have the key; without it, it is not said that no device runs."""
    seen = []
    DataDirectory(tmp_path / "edge")

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("authorization"))
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b'{"error": {"code": "unauthorized", "message": "expected the API key", "hint": "k"}}')

    with LoopbackServer(Handler) as server, locked(tmp_path / "edge"):
        monkeypatch.setenv("LORAGEN_EDGE_PORT", server.url.rpartition(":")[2])
        result = cli.invoke(app, ["status"])
        assert (result.exit_code, "expected the API key" in result.output) == (1, True)
        assert "on disk" not in result.output
        monkeypatch.setenv("LORAGEN_EDGE_API_KEY", "k" * 16)
        cli.invoke(app, ["status", "--json"])
    assert seen == [None, f"Bearer {'k' * 16}"]


def test_status_of_a_device_that_does_not_answer_yet(cli: CliRunner, tmp_path: Path) -> None:
    keep_state(tmp_path / "edge")
    with locked(tmp_path / "edge"):
        result = cli.invoke(app, ["status"])
        found = json.loads(cli.invoke(app, ["status", "--json"]).output)
    assert "The device runs, and does not answer" in result.output
    assert (found["running"], found["state"]["channel_version"]) == (True, 4)


def test_status_of_an_address_where_nothing_runs_is_an_error(cli: CliRunner) -> None:
    result = cli.invoke(app, ["status", "--url", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert "no device answers" in result.output


@pytest.mark.parametrize(("command", "bundle_id"), [("rollback", ONE), ("pin", TWO), ("unpin", "follows")])
def test_command_without_a_device_says_so_and_changes_the_state(
    cli: CliRunner, tmp_path: Path, command: str, bundle_id: str
) -> None:
    keep_state(tmp_path / "edge")
    result = cli.invoke(app, [command, "router"])
    assert result.exit_code == 0, result.output
    assert "No device runs" in result.output
    assert bundle_id in result.output


def test_command_for_a_device_that_takes_none_yet_says_so(cli: CliRunner, tmp_path: Path) -> None:
    keep_state(tmp_path / "edge")
    with locked(tmp_path / "edge"):
        result = cli.invoke(app, ["rollback", "router"])
    assert result.exit_code == 1
    assert "not_ready" in result.output


async def test_command_is_answered_by_the_device(cli: CliRunner, tmp_path: Path) -> None:
    disk = DataDirectory(tmp_path / "edge")

    async def obey(command: Command) -> str:
        return f"{command.action} of {command.name}"

    with locked(disk.root):
        async with listening(disk.socket, obey):
            result = await asyncio.to_thread(cli.invoke, app, ["unpin", "router"])
    assert result.exit_code == 0, result.output
    assert result.output == "unpin of router.\n"


@pytest.mark.parametrize(
    ("name", "code"), [("other", "not_installed"), ("nobody", "not_installed"), ("../x", "invalid")]
)
def test_rollback_of_what_is_not_installed_is_refused(cli: CliRunner, tmp_path: Path, name: str, code: str) -> None:
    keep_state(tmp_path / "edge")
    result = cli.invoke(app, ["rollback", name])
    assert result.exit_code == 1
    assert code in result.output


def test_bad_setting_is_one_line(cli: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAGEN_EDGE_QUANTIZATION", "Q1")
    for command in (["run"], ["status"], ["rollback", "router"]):
        result = cli.invoke(app, command)
        assert result.exit_code == 1
        assert "LORAGEN_EDGE_QUANTIZATION" in result.output


def test_logs_are_shown_without_a_device(cli: CliRunner, tmp_path: Path) -> None:
    assert "Nothing was tried yet" in cli.invoke(app, ["logs"]).output
    history = History(DataDirectory(tmp_path / "edge").history, lambda: 1_700_000_000.0)
    for name in ("first", "second"):
        history.add(UpdateRecord("attach", "canary_failed", 1.5, "default", name, ONE, message="[bold]not finite"))
    result = cli.invoke(app, ["logs", "-n", "1"])
    assert result.exit_code == 0, result.output
    assert "second" in result.output
    assert "first" not in result.output
    assert "[bold]not finite" in result.output


def test_channel_that_went_back_is_accepted(cli: CliRunner, tmp_path: Path) -> None:
    keep_state(tmp_path / "edge")
    assert "is followed" in cli.invoke(app, ["accept", "default"]).output
    result = cli.invoke(app, ["accept", "other"])
    assert result.exit_code == 1
    assert "not_followed" in result.output


def test_programs_get_json_instead_of_tables(cli: CliRunner, tmp_path: Path) -> None:
    nothing = json.loads(cli.invoke(app, ["status", "--json"]).output)
    assert nothing == {"running": False, "problem": "", "state": None}
    assert json.loads(cli.invoke(app, ["logs", "--json"]).output) == []
    keep_state(tmp_path / "edge")
    History(DataDirectory(tmp_path / "edge").history, lambda: 1_700_000_000.0).add(
        UpdateRecord("attach", "canary_failed", 1.5, "default", "router", ONE)
    )
    state = json.loads(cli.invoke(app, ["status", "--json"]).output)["state"]
    assert state["entries"]["router"]["active"]["bundle_id"] == TWO
    (attempt,) = json.loads(cli.invoke(app, ["logs", "--json"]).output)
    assert (attempt["name"], attempt["outcome"]) == ("router", "canary_failed")
    done = json.loads(cli.invoke(app, ["rollback", "router", "--json"]).output)
    assert done == {"running": False, "message": f"router serves {ONE} again"}
