"""Several processes give what one gives; started by torchrun as on a machine with GPUs, here with gloo on the CPU."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cloud_service.generation import Asked
from cloud_service.generator import load_generator
from tests.training.commands import run_command
from tests.training.conftest import TrainedPair
from training.fit.processes import Processes

pytestmark = pytest.mark.slow  # one fixture trains in two processes

ROOT = Path(__file__).parents[3]
# The tiny pair's generator, with the cloud model itself in training; in float32, so that sums in another order are all
# that differs.
TUNED = """
base = "{config}"
refine = []
[generator]
adapter_rank = 0
[fit]
train_cloud = true
precision = "float32"
"""
# The paper's kind of generator on models that are loaded: top-2 gates, batch norm, balance term, cloud adapter.
LOADED = """
[load]
cloud = "{cloud}"
edge = "{edge}"
[generator]
id = "loaded"
experts = 4
rank = 2
alpha = 2.0
router_width = 16
adapter_rank = 2
max_prompt_tokens = 400
[fit]
steps = 4
tasks = 8
inputs = 2
learning_rate = 1e-2
cloud_learning_rate = 1e-2
balance_weight = 0.1
warmup = 1
longest_prompt = 400
longest_turn = 96
precision = "float32"
recompute = {recompute}
"""


@dataclass(frozen=True)
class Runs:
    """Two configs, each run by one process and by two, and what the two said of a sharded model."""

    root: Path
    shards: list[dict[str, object]]

    def losses(self, run: str) -> list[float]:
        lines = (self.root / run / "runs" / "generator.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    def router(self, run: str) -> dict[str, torch.Tensor]:
        return load_file(self.root / run / "out/generator/router.safetensors")


def options(root: Path, config: Path, data: Path, run: str) -> list[str]:
    place = ["--out", str(root / run / "out"), "--runs", str(root / run / "runs")]
    return ["train", str(config), "--data", str(data), *place]


@pytest.fixture(scope="module")
def runs(tiny_pair: TrainedPair, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Two processes also compute activations twice, which must not show."""
    root = tmp_path_factory.mktemp("processes")
    tuned, loaded, recomputed = (root / f"{name}.toml" for name in ("tuned", "loaded", "recomputed"))
    tuned.write_text(TUNED.format(config=tiny_pair.config))
    models = {"cloud": tiny_pair.out / "cloud", "edge": tiny_pair.out / "edge"}
    loaded.write_text(LOADED.format(**models, recompute="false"))
    recomputed.write_text(LOADED.format(**models, recompute="true"))

    run_command(*options(root, tuned, data, "tuned-1"))
    run_command(*options(root, loaded, data, "loaded-1"))
    arguments = [options(root, tuned, data, "tuned-2"), options(root, recomputed, data, "loaded-2")]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    torchrun = ["torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1", f"--master-port={port}"]
    script = [ROOT / "tests/training/fit/rank.py", root, models["cloud"], *map(json.dumps, arguments)]
    finished = subprocess.run(
        [sys.executable, "-m", *torchrun, *script],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    return Runs(root, [json.loads(path.read_text()) for path in sorted(root.glob("shard-*.json"))])


@pytest.mark.parametrize(("config", "steps"), [("tuned", 3), ("loaded", 4)])
def test_two_processes_have_the_losses_of_one(runs: Runs, config: str, steps: int) -> None:
    one, two = (runs.losses(f"{config}-{count}") for count in (1, 2))
    assert len(one) == steps, "each step is logged once, by one process"
    assert len(set(one)) == steps
    assert two == pytest.approx(one, rel=1e-5)


def test_two_processes_train_the_same_tensors_as_one(runs: Runs) -> None:
    """Adapter, meta vectors, routers, and batch norm's running variance, which is that of the whole step."""
    one, two = (runs.router(f"loaded-{count}") for count in (1, 2))
    assert {"routers.batch_norm.running_var", "prompt_encoder.adapter.b.0_q_proj", "prompt_encoder.meta"} < one.keys()
    assert one["prompt_encoder.adapter.b.0_q_proj"].any(), "the adapter has moved"
    # Batch norm takes the bias before it away: its gradient is rounding noise, which Adam blows up.
    for name, value in one.items():
        if name not in ("routers.f2_bias", "routers.batch_norm.running_mean"):
            torch.testing.assert_close(two[name], value, rtol=1e-2, atol=2e-3, msg=name)
    variance = "routers.batch_norm.running_var"
    torch.testing.assert_close(two[variance], one[variance], rtol=1e-4, atol=1e-5)


def test_frozen_cloud_model_is_sharded(runs: Runs) -> None:
    """Each of two processes keeps half the rows, and computes what the whole model does."""
    assert len(runs.shards) == 2
    for shard in runs.shards:
        whole, here = shard["whole"], shard["here"]
        assert isinstance(whole, list)
        assert here == [whole[0] // 2, whole[1]]
        assert shard["difference"] == pytest.approx(0, abs=1e-5)


def test_generator_for_loaded_models_loads_with_them(runs: Runs, tiny_pair: TrainedPair) -> None:
    out = runs.root / "loaded-2/out"
    loaded = load_generator(out / "generator", tiny_pair.out / "cloud", tiny_pair.out / "edge")
    assert loaded.info.edge_model_id == "edge"
    assert loaded.info.gating == "topk_softmax"
    assert loaded.generate([Asked("Choose the tool.")])[0].gates.shape == (2, 1, 4)
    assert not (out / "cloud").exists(), "models that are only read are not copied"


def test_share_is_even_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes()
    assert (processes.count, processes.rank, processes.is_main) == (1, 0, True)
    monkeypatch.setattr(processes, "count", 3)
    monkeypatch.setattr(processes, "rank", 1)
    assert processes.share(6) == slice(2, 4)
    assert not processes.is_main
    with pytest.raises(ValueError, match="4 tasks or rows cannot be split evenly over 3 processes"):
        processes.share(4)
