"""Helper: a small cloud on the loopback interface, written on the contract alone, that misbehaves on demand."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from loragen.contract.answer import TEXT_ANSWER, AnswerContract
from loragen.contract.assembly import build_bundle
from loragen.contract.bank import Bank, BankHeader, write_bank
from loragen.contract.bundle import content_id, encode_bundle
from loragen.contract.channel import Channel, RecipeReference, Specialization, encode_channel
from loragen.contract.choice_head import ChoiceHeadLayout
from loragen.contract.digest import sha256_hex
from loragen.contract.lora import EdgeShape, Linears
from loragen.contract.peft_adapter import PeftAdapter, imported_bundle
from loragen.contract.recipe import Recipe, encode_recipe
from tests.edge_runtime.contracts import DESKS

GENERATOR_ID = "test-generator"
GENERATOR_DIGEST = sha256_hex(b"test generator")


def recipe_of(specialization: Specialization) -> RecipeReference:
    """The recipe of a specialization that has one."""
    assert specialization.recipe is not None
    return specialization.recipe


@dataclass
class Fault:
    """What happens to requests whose path begins with `prefix`, `times` times, after `skip` have passed."""

    prefix: str
    times: int = 1_000_000
    skip: int = 0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    delay_seconds: float = 0.0
    change: Callable[[bytes], bytes] | None = None
    hang_up: bool = False
    drip_seconds: float = 0.0
    """Between two bytes of a body."""


class FakeCloud:
    """Keeps a bank, recipes, bundles and one channel, and serves them."""

    def __init__(self, directory: Path, shape: EdgeShape, edge_model_digest: str, scale: float = 0.05) -> None:
        rng = np.random.default_rng(11)
        header = BankHeader(
            GENERATOR_ID,
            "tiny-edge",
            edge_model_digest,
            shape,
            groups=1,
            experts=3,
            rank=4,
            alpha=4.0,
            mix="parameters",
            choice=ChoiceHeadLayout(first_layer=shape.layers - 1, rank=4, codes=DESKS.codes),
        )
        tensors = {
            name: (rng.standard_normal(spec.shape) * scale).astype(np.float16)
            for name, spec in header.tensor_specs().items()
        }
        path = directory / "bank.safetensors"
        write_bank(path, header, tensors)
        self.bank = Bank.open(path)
        self.bank_bytes = path.read_bytes()
        self.shape = shape
        self.edge_model_digest = edge_model_digest
        self.recipes: dict[str, bytes] = {}
        self.bundles: dict[str, bytes] = {}
        self.channel: Channel | None = None
        self.faults: list[Fault] = []
        self.files: dict[str, bytes] = {}
        """More bodies, by their paths."""
        self.ranges = True
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def make(
        self, name: str, seed: int = 0, answer: AnswerContract = TEXT_ANSWER, residual_prompt: str = ""
    ) -> Specialization:
        """A specialization with gates of this seed, this contract and this prompt, kept here but not published."""
        rng = np.random.default_rng(seed)
        gates = rng.standard_normal((self.shape.layers, 1, 3)).astype(np.float32)
        keys = None
        if answer.codes:
            keys = rng.standard_normal((1, len(answer.codes), 4)).astype(np.float32)
        recipe = Recipe(
            GENERATOR_ID,
            GENERATOR_DIGEST,
            self.bank.digest,
            "tiny-edge",
            self.edge_model_digest,
            prompt_tokens=120,
            gates=gates,
            answer=answer,
            keys=keys,
            residual_prompt=residual_prompt,
            residual_prompt_tokens=20 if residual_prompt else 0,
        )
        return self.keep(name, build_bundle(self.bank, recipe), encode_recipe(recipe))

    def import_adapter(self, name: str, adapter: PeftAdapter, linears: Linears) -> Specialization:
        """A specialization of a user's own LoRA: a bundle without a recipe."""
        data = encode_bundle(imported_bundle(adapter, self.shape, linears, "tiny-edge", self.edge_model_digest))
        self.bundles[content_id(data)] = data
        return Specialization(name, content_id(data), len(data), "tiny-edge", self.edge_model_digest, recipe=None)

    def keep(self, name: str, bundle: bytes, recipe: bytes) -> Specialization:
        """Whatever bytes, announced under their ids."""
        self.bundles[content_id(bundle)] = bundle
        self.recipes[content_id(recipe)] = recipe
        return Specialization(
            name=name,
            bundle_id=content_id(bundle),
            bundle_bytes=len(bundle),
            edge_model_id="tiny-edge",
            edge_model_digest=self.edge_model_digest,
            recipe=RecipeReference(content_id(recipe), len(recipe), GENERATOR_ID, GENERATOR_DIGEST, self.bank.digest),
        )

    def publish(self, *specializations: Specialization) -> None:
        """Put these into the channel, replacing those of the same name."""
        listed = {s.name: s for s in (self.channel.specializations if self.channel else ())}
        listed |= {s.name: s for s in specializations}
        self._set(listed)

    def unpublish(self, *names: str) -> None:
        assert self.channel is not None
        self._set({s.name: s for s in self.channel.specializations if s.name not in names})

    def _set(self, listed: dict[str, Specialization]) -> None:
        version = self.channel.version + 1 if self.channel else 1
        self.channel = Channel("default", version, tuple(listed[name] for name in sorted(listed)))

    def asked(self, prefix: str) -> int:
        """How many requests had a path of this beginning."""
        return sum(path.startswith(prefix) for path, _ in self.requests)

    def fail(self, prefix: str, **what: Any) -> None:
        """Misbehave on these paths."""
        self.faults.append(Fault(prefix, **what))

    def heal(self) -> None:
        self.faults.clear()

    def find(self, path: str) -> tuple[bytes, str] | None:
        """The body at a path and its ETag."""
        if path in self.files:
            return self.files[path], sha256_hex(self.files[path])
        match path.strip("/").split("/"):
            case ["channels", "default"] if self.channel is not None:
                data = encode_channel(self.channel)
                return data, sha256_hex(data)
            case ["recipes", name] if name in self.recipes:
                return self.recipes[name], name
            case ["bundles", name] if name in self.bundles:
                return self.bundles[name], name
            case ["generators", name, "bank"] if name == GENERATOR_ID:
                return self.bank_bytes, self.bank.digest
        return None

    def fault_for(self, path: str) -> Fault:
        for index, fault in enumerate(self.faults):
            if path.startswith(fault.prefix) and fault.times > 0:
                if fault.skip > 0:
                    self.faults[index] = replace(fault, skip=fault.skip - 1)
                    continue
                self.faults[index] = replace(fault, times=fault.times - 1)
                return fault
        return Fault("")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are what these tests are about."""


def _handler(cloud: FakeCloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            cloud.requests.append((self.path, dict(self.headers)))
            fault = cloud.fault_for(self.path)
            if fault.hang_up:
                self.close_connection = True
                return
            time.sleep(fault.delay_seconds)
            found = cloud.find(self.path)
            if fault.status is not None or found is None:
                self._send(fault.status or 404, b"no", fault.headers)
                return
            body, digest = found
            if fault.change:
                body = fault.change(body)
            etag = f'"{digest}"'
            headers = {"ETag": etag, **fault.headers}
            if self.headers.get("If-None-Match") == etag:
                self._send(304, b"", headers)
                return
            status, start = 200, 0
            wanted = self.headers.get("Range")
            if cloud.ranges and wanted and self.headers.get("If-Range") == etag:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(body):
                    self._send(416, b"", {"Content-Range": f"bytes */{len(body)}"})
                    return
                status = 206
                headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self._send(status, body[start:], headers, fault.cut_after, fault.drip_seconds)

        def _send(
            self,
            status: int,
            body: bytes,
            headers: dict[str, str],
            cut_after: int | None = None,
            drip_seconds: float = 0.0,
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 304:
                self.send_header("Content-Length", headers.get("Content-Length", str(len(body))))
            self.end_headers()
            if cut_after is not None and len(body) > cut_after:
                self.wfile.write(body[:cut_after])
                self.wfile.flush()
                self.close_connection = True
            elif drip_seconds:
                for byte in body:
                    self.wfile.write(bytes((byte,)))
                    time.sleep(drip_seconds)
            else:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
