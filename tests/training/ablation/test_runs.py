"""The ablations at toy size: runs, and resuming."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from cloud_service.generator import GeneratorConfig
from cloud_service.generator.edge import edge_shape
from cloud_service.generator.experts import ExpertBank
from tests.training.commands import run_command
from tests.training.conftest import TrainedPair
from tests.training.models import tiny_model
from training.ablation import runs as ablation_runs
from training.ablation.runs import start_from_oracles
from training.ablation.variants import DEFAULT


def call(data: Path, pair: TrainedPair, runs: Path, only: Sequence[str], steps: int = 2) -> None:
    """Two seeds of each variant, on four validation episodes."""
    chosen = [part for name in only for part in ("--only", name)]
    options = ["--data", data, "--pair", pair.out, "--runs", runs, "--steps", steps, "--seeds", 2, "--episodes", 4]
    run_command("ablate", *options, *chosen)


@pytest.mark.slow
def test_second_call_runs_only_what_is_missing(
    data: Path, tiny_pair: TrainedPair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a frozen prompt_encoder, without experts, and with an adapter; the run that is lost comes out as it was."""
    only = [DEFAULT, "contrast", "direct", "adapter"]
    call(data, tiny_pair, tmp_path, only)
    results = tmp_path / "results.jsonl"
    lines = results.read_text().splitlines()
    assert len(lines) == 8
    results.write_text("".join(line + "\n" for line in lines[:-1]))
    call(data, tiny_pair, tmp_path, only)
    again = results.read_text().splitlines()
    assert again[:-1] == lines[:-1]
    assert without_time(again[-1]) == without_time(lines[-1])
    assert not [path for path in tmp_path.iterdir() if path.is_dir()], "checkpoints of finished runs go"
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [row.split(" | ")[0] for row in rows[-4:]] == ["| paper", "| contrast", "| direct", "| adapter"]


def without_time(line: str) -> list[str]:
    return [part for part in line.split(", ") if "cpu_seconds" not in part]


def test_runs_of_other_lengths_are_not_mixed(data: Path, tiny_pair: TrainedPair, tmp_path: Path) -> None:
    for steps in (1, 2):
        call(data, tiny_pair, tmp_path, [DEFAULT], steps)
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 4


def test_expert_that_starts_as_an_oracle_is_that_oracle_under_a_gate_of_one(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    shape = edge_shape(tiny_model(tokenizer).config)
    config = GeneratorConfig(id="t", experts=3, top_k=2, rank=2, alpha=6.0)
    torch.manual_seed(0)
    oracles = []
    for _ in range(2):
        sizes = {key: shape.in_out(key[1]) for key in shape.blocks()}
        oracles.append({k: (torch.randn(1, 2, i), torch.randn(1, o, 2)) for k, (i, o) in sizes.items()})
    bank = ExpertBank(config, shape)
    start_from_oracles(bank, oracles)
    gates = torch.zeros(1, shape.layers, 1, 3)
    gates[..., 1] = 1.0
    for key, (a, b) in bank(gates).items():
        torch.testing.assert_close(a, oracles[1][key][0])
        torch.testing.assert_close(b, oracles[1][key][1])
    assert not bank.b["down"][:, 2].any(), "the others start as ever"


def test_no_variant_pays_for_what_the_frozen_prompt_encoder_reads(
    data: Path, tiny_pair: TrainedPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its prompt_encoder, training finds every prompt read."""
    train = ablation_runs.train_generator

    def train_without_prompt_encoder(generator: Any, *rest: Any) -> None:
        own, generator.prompt_encoder._prompt_encoder = generator.prompt_encoder._prompt_encoder, []
        train(generator, *rest)
        generator.prompt_encoder._prompt_encoder = own

    monkeypatch.setattr(ablation_runs, "train_generator", train_without_prompt_encoder)
    call(data, tiny_pair, tmp_path, [DEFAULT])
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 2
