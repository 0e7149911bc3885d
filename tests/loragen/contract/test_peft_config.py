"""Ranks and scales are PEFT's, and whatever is no plain LoRA is refused by name."""

import json
from typing import Any

import pytest
from peft import LoraConfig
from peft.utils.other import get_pattern_key

from loragen.contract.errors import ContractError, FormatError, LimitError, UnsupportedError
from loragen.contract.names import module_name
from loragen.contract.peft_config import PeftConfig, parse_peft_config

PLAIN: dict[str, Any] = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}


def parse(**fields: Any) -> PeftConfig:
    return parse_peft_config(json.dumps(PLAIN | fields).encode())


def test_configuration_as_peft_saves_it_is_read() -> None:
    """With every field that this version of PEFT writes at its default: none of them is taken for something unknown."""
    config = LoraConfig(r=4, lora_alpha=6, target_modules=["v_proj"], task_type="CAUSAL_LM")
    fields = {name: sorted(value) if isinstance(value, set) else value for name, value in config.to_dict().items()}
    found = parse_peft_config(json.dumps(fields).encode())
    assert found == PeftConfig(r=4, lora_alpha=6, rank_pattern={}, alpha_pattern={}, use_rslora=False)


@pytest.mark.parametrize(
    "pattern",
    [
        {"q_proj": 1, "layers.3.self_attn.q_proj": 2},
        {"layers.3.self_attn.q_proj": 2, "q_proj": 1},
        {"model.layers.3.self_attn.q_proj": 3},
        {"proj": 4, "j": 4, "3.self_attn.q_proj": 5},
        {r"layers\.3\.self_attn\.q_proj": 2, "q_proj": 1},
        {"^q_proj": 2, "^layers.3.self_attn.q_proj": 3, "^model.layers.3.self_attn.q_proj$": 4, "q_proj$": 5},
        {r".*\.up_proj": 2, r"^.*\.self_attn\.q_proj": 3},
    ],
)
def test_pattern_picks_what_peft_picks(pattern: dict[str, int]) -> None:
    config = parse(rank_pattern=pattern)
    for block in ((3, "q"), (13, "q"), (3, "up")):
        module = module_name(*block)
        assert config.rank(module) == pattern.get(get_pattern_key(list(pattern), module), 8)


def test_scale_is_that_of_each_module() -> None:
    module = module_name(0, "up")
    assert parse().scale(module) == 2.0
    assert parse(rank_pattern={"up_proj": 4}, alpha_pattern={"up_proj": 2}).scale(module) == 0.5
    assert parse(use_rslora=True, rank_pattern={"up_proj": 4}).scale(module) == 8.0
    assert parse(lora_alpha=0.5).scale(module) == 1 / 16


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "lora_only"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"layers_pattern": "h"}, "layers_pattern"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"trainable_token_indices": [1]}, "embeddings"),
        ({"target_parameters": ["experts.up"]}, "target_parameters"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"use_qalora": True}, "QA-LoRA"),
        ({"alora_invocation_tokens": [5]}, "alora_invocation_tokens"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"init_lora_weights": "loftq"}, "loftq"),
        ({"init_lora_weights": {"a": 1}}, "init_lora_weights"),
        ({"use_bdlora": {"nblocks": 2}}, "use_bdlora"),
        ({"some_new_idea": 0.5}, "some_new_idea"),
        ({"rank_pattern": {"layers\\.[0-3]\\..*": 4}}, "regular expression"),
        ({"alpha_pattern": {"(a+)+$": 4}}, "regular expression"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"peft_type": "PREFIX_TUNING"}, "PREFIX_TUNING"),
        ({"peft_type": None}, "peft_type"),
    ],
)
def test_what_is_no_plain_lora_is_refused_by_name_with_a_way_out(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedError) as refused:
        parse(**fields)
    assert named in str(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize("init", [True, False, None, "gaussian", "eva", "orthogonal"])
def test_starts_that_leave_the_base_model_alone_are_taken(init: object) -> None:
    assert parse(init_lora_weights=init).r == 8


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"r": 0}, FormatError),
        ({"r": "8"}, FormatError),
        ({"r": True}, FormatError),
        ({"r": 10**9}, LimitError),
        ({"lora_alpha": None}, FormatError),
        ({"lora_alpha": float("nan")}, FormatError),
        ({"lora_alpha": 1e300}, FormatError),
        ({"rank_pattern": [1]}, FormatError),
        ({"rank_pattern": {"q_proj": 2.5}}, FormatError),
        ({"alpha_pattern": {"q_proj": "x"}}, FormatError),
        ({"use_rslora": "yes"}, FormatError),
    ],
)
def test_numbers_out_of_range_are_refused(fields: dict[str, Any], error: type[ContractError]) -> None:
    with pytest.raises(error):
        parse(**fields)


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_bytes_that_are_no_configuration_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_peft_config(data)


def test_configuration_over_its_limit_is_refused() -> None:
    with pytest.raises(LimitError):
        parse_peft_config(b" " * (2**20 + 1))
