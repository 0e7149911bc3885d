"""Values: the `adapter_config.json` of a PEFT adapter, as far as it decides what the adapter adds to its model.

A field that is not known here must be empty: a newer PEFT may give it a meaning that changes the model. Patterns for
rank and alpha are compared as names of modules or their ends, as PEFT does for plain names; the points of a name may be
escaped, and it may have `^`, `$` or `.*` around it. Any other regular expression is refused, because the file comes
from strangers and such an expression can run for hours.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from loragen.contract.errors import FormatError, LimitError, UnsupportedError
from loragen.contract.fields import verify_count
from loragen.contract.limits import MAX_ADAPTER_CONFIG_BYTES, MAX_ALPHA, MAX_RANK

_T = TypeVar("_T")

_FILE = "adapter_config.json"

_READ = frozenset({"alpha_pattern", "lora_alpha", "peft_type", "r", "rank_pattern", "use_rslora"})

_NEUTRAL = frozenset(
    {
        # Which modules were adapted, which the tensors say too.
        "exclude_modules",
        "layers_to_transform",
        "target_modules",
        # How it was trained, loaded or started, which leaves plain factors behind.
        "auto_mapping",
        "base_model_name_or_path",
        "ephemeral_gpu_offload",
        "eva_config",
        "inference_mode",
        "lora_dropout",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "task_type",
    }
)

_MERGE = "merge it into its model with PEFT's merge_and_unload and convert that, or train a plain LoRA"

_REFUSED = {
    "alora_invocation_tokens": ("a LoRA that acts on a part of the text", _MERGE),
    "bias": ("trained biases", 'train with bias="none"'),
    "fan_in_fan_out": ("transposed weights", "train on a model whose layers are torch.nn.Linear"),
    "layer_replication": ("copied layers", _MERGE),
    "layers_pattern": ("layers under other names", "train a Llama, Qwen or Gemma model, without layers_pattern"),
    "lora_bias": ("trained biases", "train without lora_bias"),
    "modules_to_save": ("whole modules", "train without modules_to_save"),
    "target_parameters": ("parameters that are no linear layers", "train on linear layers, by target_modules"),
    "trainable_token_indices": ("embeddings", "train without trainable_token_indices"),
    "use_dora": ("DoRA", _MERGE),
    "use_qalora": ("QA-LoRA", _MERGE),
}
"""Fields that change the model in a way a bundle cannot hold: what they stand for, and the way out."""

_PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")
"""Values of `init_lora_weights` that leave the base model as it is; others, such as PiSSA and LoftQ, change it."""

_MODULE = re.compile(r"(?P<whole>\^)?(?:\.\*\\?\.)?(?P<name>[A-Za-z0-9_]+(?:\\?\.[A-Za-z0-9_]+)*)\$?")


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """Rank and scale of each module.

    Attributes:
        r: Rank of the modules that no pattern names.
        lora_alpha: Their alpha.
        rank_pattern: Rank by the name of a module or its end, or by `^` and its whole name; the first that fits counts.
        alpha_pattern: Alpha in the same way.
        use_rslora: The scale is alpha / sqrt(rank) instead of alpha / rank.
    """

    r: int
    lora_alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    use_rslora: bool

    def rank(self, module: str) -> int:
        """Rank of a module, by its whole name."""
        return _find(self.rank_pattern, module, self.r)

    def scale(self, module: str) -> float:
        """What B A is multiplied by."""
        rank = self.rank(module)
        return _find(self.alpha_pattern, module, self.lora_alpha) / (math.sqrt(rank) if self.use_rslora else rank)


def parse_peft_config(data: bytes) -> PeftConfig:
    """Read a configuration, which must be of a plain LoRA.

    Raises:
        UnsupportedError: It is of another method, or of a LoRA with parts that a bundle cannot hold.
        FormatError, LimitError: It is no configuration, or a number is out of its range.
    """
    if len(data) > MAX_ADAPTER_CONFIG_BYTES:
        raise LimitError(f"{_FILE}: expected at most {MAX_ADAPTER_CONFIG_BYTES} bytes, found {len(data)}")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as e:
        raise FormatError(f"{_FILE}: expected JSON in UTF-8") from e
    if not isinstance(fields, dict):
        raise FormatError(f"{_FILE}: expected a JSON object, found {type(fields).__name__}")
    _verify_plain(fields)
    rslora = fields.get("use_rslora") or False
    if not isinstance(rslora, bool):
        raise FormatError(f"{_FILE}: use_rslora: expected true or false")
    return PeftConfig(
        r=_rank(fields.get("r"), "r"),
        lora_alpha=_alpha(fields.get("lora_alpha"), "lora_alpha"),
        rank_pattern=_pattern(fields, "rank_pattern", _rank),
        alpha_pattern=_pattern(fields, "alpha_pattern", _alpha),
        use_rslora=rslora,
    )


def _verify_plain(fields: Mapping[str, Any]) -> None:
    kind = fields.get("peft_type")
    if kind != "LORA":
        raise UnsupportedError(f"{_FILE}: peft_type: expected LORA, found {ascii(kind)[:40]}", hint=_MERGE)
    start = fields.get("init_lora_weights")
    if not any(start is plain for plain in _PLAIN_STARTS[:3]) and start not in _PLAIN_STARTS[3:]:
        raise UnsupportedError(
            f"{_FILE}: init_lora_weights is {ascii(start)[:40]}: such a LoRA belongs to a changed base model",
            hint="save it with path_initial_model_for_weight_conversion, which makes a plain LoRA of it",
        )
    for name, (what, way_out) in _REFUSED.items():
        if _says_something(fields.get(name), name):
            raise UnsupportedError(f"{_FILE}: {name} stands for {what}, which a bundle cannot hold", hint=way_out)
    # A LoftQ configuration may stay in the file of a LoRA that did not start that way.
    known = _READ | _NEUTRAL | {"init_lora_weights", "loftq_config"}
    for name, value in fields.items():
        if name not in known and _says_something(value, name):
            raise UnsupportedError(
                f"{_FILE}: {ascii(name)[:80]} is not known here, and may change what the adapter does", hint=_MERGE
            )


def _says_something(value: object, name: str) -> bool:
    return bool(value) and not (name == "bias" and value == "none")


def _rank(value: object, name: str) -> int:
    if type(value) is not int:
        raise FormatError(f"{_FILE}: {name}: expected a whole number, found {ascii(value)[:40]}")
    return verify_count(value, f"{_FILE}: {name}", 1, MAX_RANK)


def _alpha(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= MAX_ALPHA:
        raise FormatError(f"{_FILE}: {name}: expected a number of at most {MAX_ALPHA:g}, found {ascii(value)[:40]}")
    return float(value)


def _pattern(fields: Mapping[str, Any], name: str, read: Callable[[object, str], _T]) -> dict[str, _T]:
    pattern = fields.get(name) or {}
    if not isinstance(pattern, dict):
        raise FormatError(f"{_FILE}: {name}: expected a JSON object, found {type(pattern).__name__}")
    found: dict[str, _T] = {}
    for module, value in pattern.items():
        match = _MODULE.fullmatch(module)
        if match is None:
            raise UnsupportedError(
                f"{_FILE}: {name}: expected names of modules, found the regular expression {ascii(module)[:80]}",
                hint="write the names of the modules, or their ends such as q_proj",
            )
        is_whole = match["whole"] and ".*" not in module
        # The first of two that mean the same counts.
        found.setdefault(("^" if is_whole else "") + match["name"].replace("\\", ""), read(value, name))
    return found


def _find(pattern: Mapping[str, _T], module: str, otherwise: _T) -> _T:
    for name, value in pattern.items():
        if module == name.removeprefix("^") or module.endswith("." + name):
            return value
    return otherwise
