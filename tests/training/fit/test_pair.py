"""Published models of other families: a generator is trained for them as they are, in bfloat16."""

import json
import math
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from cloud_service.generator import CheckpointError, load_generator
from tests.cloud_service.generator.tiny import random_model
from tests.training.commands import run_command

CONFIG = """
base = "tinyllama-llama3-8b"
[load]
cloud = "{cloud}"
edge = "{edge}"
[generator]
rank = 2
router_width = 8
max_prompt_tokens = 300
[fit]
longest_prompt = 300
longest_turn = 80
[tiny.fit]
tasks = 4
"""


@pytest.mark.parametrize(("cloud", "edge"), [("llama", "gemma2"), ("qwen2", "llama"), ("gemma2", "qwen2")])
def test_config_of_the_paper_trains_for_every_family(
    tmp_path: Path, data: Path, tokenizer: PreTrainedTokenizerFast, cloud: str, edge: str
) -> None:
    """With its adapter, batch norm, dropout and recomputation; the base models come without a chat template."""
    plain = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, bos_token="<|bos|>", eos_token="<|end|>"
    )
    for name, family, seed in (("cloud", cloud, 1), ("edge", edge, 2)):
        model = random_model(family, seed, vocab_size=len(tokenizer), max_position_embeddings=512)
        model.save_pretrained(tmp_path / name)
        plain.save_pretrained(tmp_path / name)
    config = tmp_path / "mine.toml"
    config.write_text(CONFIG.format(cloud=tmp_path / "cloud", edge=tmp_path / "edge"))
    options = ["--data", str(data), "--out", str(tmp_path / "out"), "--runs", str(tmp_path / "runs"), "--tiny"]
    run_command("train", config, *options)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "runs/generator.jsonl").read_text().splitlines()]
    assert len(losses) == 3
    assert all(map(math.isfinite, losses))
    loaded = load_generator(tmp_path / "out/generator", tmp_path / "cloud", tmp_path / "edge")
    assert any(loaded.bank.factors(layer, "up")[1].any() for layer in range(loaded.info.layers)), "experts have moved"


def test_model_that_is_nowhere_is_reported(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config = tmp_path / "mine.toml"
    config.write_text(CONFIG.format(cloud="no-such/model", edge="no-such/model"))
    with pytest.raises(CheckpointError, match="no-such/model is neither a folder nor a model that the hub gives"):
        run_command("train", config, "--data", data, "--runs", tmp_path / "r", "--tiny")
