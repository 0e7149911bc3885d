"""A device on arm64, emulated as a Raspberry Pi 4 (Cortex-A72): `make test-emulated` prepares it and runs this file.

`make test` skips it. An emulated processor is a hundred times slower than this machine's, and no measure of a real one.
"""

import json
import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import numpy as np
import pytest

from edge_runtime.gguf.quantization import Quantization
from loragen import DeviceClient
from loragen.client.process import ServiceProcess, free_ports
from loragen.default_pair import DEFAULT_PAIR
from loragen.packages import find_packaged_model
from tests.edge_runtime.conftest import TINY_MODELS
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.tiny_models import TINY_LLAMAS, save_tiny_llama

HOME = os.environ.get("ARM64_HOME", "")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not HOME, reason="runs with `make test-emulated`")]

WAIT_SECONDS = 900.0
"""For whatever the emulated device is to do."""


@pytest.fixture
def python(root: Path) -> str:
    """The emulated interpreter."""
    path = root / HOME / "root/usr/bin/python"
    assert path.exists(), "make test-emulated makes it"
    return str(path)


@pytest.fixture
def emulated(root: Path, python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Child processes of this interpreter are emulated, and import the packages of this checkout."""
    monkeypatch.setattr(sys, "executable", python)
    monkeypatch.setenv("PYTHONPATH", str(root))


@pytest.fixture(scope="module")
def tiny_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny models of the device's tests, which take transformers to make."""
    folder = tmp_path_factory.mktemp("models")
    for name in TINY_LLAMAS:
        save_tiny_llama(name, folder / name)
    return folder


OWN_TESTS = ("loragen/contract/test_*.py", "edge_runtime/merge/test_*.py", "edge_runtime/updates/test_updater.py")
"""Not all of updates and serving, which would take long; the device below does what they are about."""

ABSENT = re.compile(r"^(import|from) (torch|transformers|peft)\b", re.MULTILINE)
"""What the emulated Python does not have."""

WANT_INSTALLED = (
    "tests/loragen/contract/test_gguf_header.py::test_offsets_of_a_real_model_are_those_of_the_gguf_package",
    "tests/loragen/contract/test_signed_channel.py::test_this_runtime_is_new_enough_for_what_it_writes",
)
"""They want the package of the published model, or our own; there, neither is installed."""


@pytest.mark.parametrize("pattern", OWN_TESTS)
def test_quick_tests_pass(pattern: str, root: Path, python: str, tiny_directory: Path) -> None:
    files = sorted((root / "tests").glob(pattern))
    wanted = [str(path) for path in files if not ABSENT.search(path.read_text())]
    assert len(wanted) > len(files) / 2
    # `ci` is a profile of hypothesis: the same examples each time, and no deadlines.
    deselected = [word for test in WANT_INSTALLED for word in ("--deselect", test)]
    options = [
        "-q",
        "-o",
        "faulthandler_timeout=0",
        "-m",
        "not slow",
        "-p",
        "no:cacheprovider",
        "--hypothesis-profile=ci",
    ]
    ran = subprocess.run(
        [python, "-m", "pytest", *options, *deselected, *wanted],
        cwd=root,
        env={**os.environ, TINY_MODELS: str(tiny_directory), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]


DIGESTS = """
import sys
from hashlib import sha256
from pathlib import Path
from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge import merge
from loragen.contract.assembly import build_bundle
from loragen.contract.bank import Bank
from loragen.contract.bundle import parse_bundle
from loragen.contract.recipe import parse_recipe
bank, recipe, base, out = map(Path, sys.argv[1:5])
bundle = build_bundle(Bank.open(bank), parse_recipe(recipe.read_bytes()))
print(sha256(bundle).hexdigest())
for name in sys.argv[5:]:
    merge(base, parse_bundle(bundle), out, Quantization(name))
    print(name, sha256(out.read_bytes()).hexdigest())
"""


def test_assembled_and_merged_bytes_are_those_of_this_machine(
    python: str, root: Path, tiny_base: Path, cloud: FakeCloud, tmp_path: Path
) -> None:
    """llama.cpp rounds other types by sums of floats, which arm64 fuses: up to three bytes in a hundred differ."""
    wanted = cloud.make("router")
    (tmp_path / "bank").write_bytes(cloud.bank_bytes)
    (tmp_path / "recipe").write_bytes(next(iter(cloud.recipes.values())))
    files = [tmp_path / "bank", tmp_path / "recipe", tiny_base, tmp_path / "out.gguf"]

    def digests(interpreter: str) -> list[str]:
        command = [interpreter, "-c", DIGESTS, *map(str, files), Quantization.F16, Quantization.Q8_0]
        return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()

    found = digests(python)
    assert found[0] == wanted.bundle_id
    assert found == digests(sys.executable)


@pytest.mark.usefixtures("emulated")
def test_device_follows_merges_and_answers_like_one_on_this_machine(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It assembles the bundle from the recipe. Sums of floats differ in their last bits, and no more than that."""
    wanted = cloud.make("router")
    cloud.publish(wanted)
    emulated = served(cloud, tiny_base, tmp_path / "emulated", wanted.bundle_id)
    assert cloud.asked("/recipes/") > 0
    assert cloud.asked("/bundles/") == 0
    monkeypatch.undo()
    native = served(cloud, tiny_base, tmp_path / "native", wanted.bundle_id)
    for name in ("base", "router"):
        assert emulated[name] == pytest.approx(native[name], abs=0.02)
    assert emulated["base"] != pytest.approx(emulated["router"], abs=0.02)


def served(cloud: FakeCloud, base: Path, directory: Path, bundle_id: str) -> dict[str, list[float]]:
    """What the base and the merged specialization of a device think of a text: log probabilities of its tokens."""
    directory.mkdir()
    (port,), log = free_ports(1), directory / "log"
    url = f"http://127.0.0.1:{port}"
    settings = settings_of(base, directory / "edge", port=port, cloud_url=cloud.url, allow_unsigned=True)
    with ServiceProcess("edge", ["-m", "edge_runtime"], settings, log) as child, DeviceClient(url) as device:
        child.wait_until_ready(device, WAIT_SECONDS)
        device.wait_until_serving("router", bundle_id, merged=True, timeout_seconds=WAIT_SECONDS)
        assert device.complete("router", "The quick brown", max_tokens=6, temperature=0).usage.completion_tokens > 0
        found = {name: likelihoods(url, name, "The quick brown fox, aged 12, jumps.") for name in ("base", "router")}
        child.process.send_signal(signal.SIGTERM)
        assert child.process.wait(WAIT_SECONDS) == 0, log.read_text()
    return found


def settings_of(base: Path, directory: Path, **more: object) -> dict[str, str]:
    values = {"base_model": base, "data_dir": directory, "context_tokens": 256, "threads": 1, "quantization": "Q8_0"}
    return {f"LORAGEN_EDGE_{name.upper()}": str(value) for name, value in (values | more).items()}


def likelihoods(url: str, model: str, text: str) -> list[float]:
    body = {"model": model, "prompt": text, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
    answer = httpx2.post(f"{url}/v1/completions", json=body, timeout=WAIT_SECONDS).raise_for_status().json()
    first, *others = answer["choices"][0]["logprobs"]["token_logprobs"][:-1]
    assert first is None
    assert len(others) > 5
    assert all(math.isfinite(each) for each in others)
    return others


@pytest.mark.usefixtures("emulated")
def test_processor_that_lacks_a_feature_is_one_line_and_an_end(
    root: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the image's llama.cpp, on a processor that is older than that: not a death by SIGILL, again and again."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root / HOME / "newer"), str(root)]))
    log = tmp_path / "log"
    with ServiceProcess("edge", ["-m", "edge_runtime"], settings_of(tiny_base, tmp_path / "edge"), log) as child:
        assert child.process.wait(WAIT_SECONDS) == 1, log.read_text()
    problem, hint = (line for line in log.read_text().splitlines() if not line.startswith("qemu:"))
    assert "this processor lacks asimddp, atomics, which the installed llama-cpp-python needs" in problem
    assert "GGML_CPU_ARM_ARCH=armv8-a" in hint


ANSWER = """
import json, sys
from pathlib import Path
from edge_runtime.serving.engine import Sampling
from edge_runtime.serving.llama import LlamaLoader
from tests.edge_runtime.serving.alone import decode, logits, prefill
engine = LlamaLoader(64, 1).load(Path(sys.argv[1]), None)
prefill(engine, engine.tokenize("The capital of France is"))
first = [float(each) for each in logits(engine)]
text = b"".join(token.piece for token in decode(engine, Sampling(temperature=0), 4)).decode()
print(json.dumps([text, first]))
"""


def test_published_model_answers_like_on_this_machine(python: str, root: Path) -> None:
    """The edge model of the default pair, Q4_1. Kernels for arm64 round activations otherwise: measured, KL 0.004."""

    def answered(interpreter: str) -> tuple[str, np.ndarray]:
        command = [interpreter, "-c", ANSWER, str(find_packaged_model(DEFAULT_PAIR.edge_model))]
        ran = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
        text, logits = json.loads(ran.stdout.splitlines()[-1])
        return text, np.array(logits) - np.logaddexp.reduce(logits)

    text, expected = answered(sys.executable)
    emulated, found = answered(python)
    assert "Paris" in text
    assert emulated == text
    assert np.sum(np.exp(expected) * (expected - found)) < 0.02
