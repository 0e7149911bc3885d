"""Export of a bundle to a directory that PEFT loads.

The weights file is the bundle itself, byte for byte. The configuration is added, and the answer contract where it says
anything, which PEFT does not read. PEFT itself is not needed. The way back is `loragen.contract.peft_adapter`.
"""

from collections import Counter
from pathlib import Path

from loragen.contract.answer import TEXT_ANSWER, encode_answer
from loragen.contract.atomic import write_atomic
from loragen.contract.bundle import Bundle, encode_bundle
from loragen.contract.digest import canonical_json
from loragen.contract.names import module_name

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
ANSWER_FILE = "answer.json"
"""The answer contract, beside an adapter. A folder without one is for any text."""


def export_peft(bundle: Bundle, directory: Path, base_model: str) -> None:
    """Write `adapter_model.safetensors`, `adapter_config.json` and perhaps `answer.json` into a directory.

    Example:
        export_peft(parse_bundle(data), Path("adapter"), "TinyLlama/TinyLlama-1.1B-Chat-v1.0")
        model = peft.PeftModel.from_pretrained(base, "adapter")

    Args:
        bundle: What to export.
        directory: Where to; made when absent.
        base_model: Path or Hub id of the edge model; PEFT loads the base model from it.

    Raises:
        NonFiniteError: A factor holds NaN or infinity.
        OSError: A file cannot be written.
    """
    ranks = {module_name(*block): rank for block, rank in bundle.lora.ranks.items()}
    most, _ = max(Counter(ranks.values()).items(), key=lambda each: (each[1], each[0]))
    others = {module: rank for module, rank in ranks.items() if rank != most}
    config = {
        # The scale is alpha / rank; it is 1 everywhere, because a bundle has the scale in B.
        "alpha_pattern": others,
        "base_model_name_or_path": base_model,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": most,
        "lora_dropout": 0,
        "peft_type": "LORA",
        "r": most,
        "rank_pattern": others,
        # Whole names: PEFT would adapt a module of every layer that it knows by a short one.
        "target_modules": list(ranks),
        "task_type": "CAUSAL_LM",
    }
    directory.mkdir(parents=True, exist_ok=True)
    write_atomic(directory / WEIGHTS_FILE, encode_bundle(bundle))
    if bundle.header.answer == TEXT_ANSWER:
        (directory / ANSWER_FILE).unlink(missing_ok=True)
    else:
        write_atomic(directory / ANSWER_FILE, encode_answer(bundle.header.answer).encode() + b"\n")
    # The configuration comes last: a directory that has one is complete.
    write_atomic(directory / CONFIG_FILE, canonical_json(config) + b"\n")
