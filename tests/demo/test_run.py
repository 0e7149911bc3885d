"""The whole demo against one hand-written server that plays cloud service and device over real HTTP."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from demo.run import main

BUNDLE_ID = "b" * 64
NOT_FOUND = {"error": {"code": "not_found", "message": "no such path", "hint": "", "request_id": "r"}}
REFERENCE = {"id": "tiny", "digest": "d" * 64}
GENERATED = {
    "id": BUNDLE_ID,
    "bundle_bytes": 1000,
    "recipe_id": "c" * 64,
    "recipe_bytes": 100,
    "cached": False,
    "generator": REFERENCE,
    "edge_model": REFERENCE,
    "gates": [[[0.5]]],
    "prompt_tokens": 9,
    "tokens_saved_per_call": 9,
    "residual_prompt": "",
    "answer": {"type": "text", "choices": [], "codes": []},
    "confidence": None,
    "warnings": [],
    "links": {"bundle": "/bundles/b", "recipe": "/recipes/c", "bank": "/generators/tiny/bank"},
    "timings": {"queue_ms": 0, "generate_ms": 5.0, "assemble_ms": 0, "total_ms": 5.0},
}


class FakeServices(ThreadingHTTPServer):
    """Generates one bundle, serves it merged at once, and answers in capitals when specialized."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.published: list[tuple[str, str]] = []
        self.state = "merged"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def respond(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        match path:
            case "/health/ready":
                return {}
            case "/generate-lora":
                self.published.append((body["publish"]["channel"], body["publish"]["name"]))
                return GENERATED
            case "/v1/models":
                served = {"state": self.state, "bundle_id": BUNDLE_ID, "merge_seconds": 0.5, "retained_delta": 0.95}
                return {"data": [{"id": name, **served} for _, name in self.published]}
            case "/v1/chat/completions":
                user = body["messages"][-1]["content"]
                text = user if body["model"] == "base" else user.upper()
                tokens = sum(len(message["content"]) for message in body["messages"])
                choice = {"message": {"content": text}, "finish_reason": "stop"}
                return {"choices": [choice], "usage": {"prompt_tokens": tokens, "completion_tokens": 1}}
        return None


class Handler(BaseHTTPRequestHandler):
    server: FakeServices

    def do_GET(self) -> None:
        self.answer({})

    def do_POST(self) -> None:
        self.answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def answer(self, body: dict[str, Any]) -> None:
        answer = self.server.respond(self.path, body)
        data = json.dumps(answer if answer is not None else NOT_FOUND).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def services() -> Iterator[FakeServices]:
    with FakeServices() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    directory = tmp_path / "tasks"
    directory.mkdir()
    for name in ("loud", "louder"):
        inputs = [{"input": text, "output": text.upper() + "!" * (text == "c")} for text in "abcd"]
        document = {"name": name, "request": {"description": "Shout."}, "inputs": inputs}
        (directory / f"{name}.json").write_text(json.dumps(document))
    return directory


def test_demo_publishes_measures_and_writes_every_task(
    services: FakeServices, tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo.json"
    arguments = ["--cloud", services.url, "--edge", services.url, "--channel", "c1", "--tasks", str(tasks)]
    assert main([*arguments, "--out", str(out)]) == 0
    assert services.published == [("c1", "loud"), ("c1", "louder")]
    first, second = json.loads(out.read_text())["tasks"]
    assert (first["name"], second["name"]) == ("loud", "louder")
    # Scoring ignores case, so the base model's echo is right where no "!" is expected.
    assert first["accuracy"] == {"base": 0.75, "prompted": 0.75, "specialized": 0.75}
    assert first["input_tokens"] == {"prompted": 1 + len("Shout."), "specialized": 1}
    assert "75.0%" in capsys.readouterr().out


def test_demo_ends_with_one_and_the_reason_when_a_service_refuses(
    services: FakeServices, tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo.json"
    services.respond = lambda path, body: {} if path == "/health/ready" else None  # type: ignore[method-assign]
    assert main(["--cloud", services.url, "--edge", services.url, "--tasks", str(tasks), "--out", str(out)]) == 1
    assert "no such path" in capsys.readouterr().err.replace("\n", " ")
    assert not out.exists()


def test_cloud_without_edge_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--cloud", "http://127.0.0.1:1"])
    assert "go together" in capsys.readouterr().err


def test_main_says_what_failed_and_returns_one(tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--tasks", str(tmp_path)]) == 1
    assert "no task files" in capsys.readouterr().err
    assert main(["--tasks", str(tasks), "--models", str(tmp_path), "--state", str(tmp_path / "state")]) == 1
    assert "generator.json does not say" in capsys.readouterr().err.replace("\n", " ")
