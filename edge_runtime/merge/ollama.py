"""A folder from which `ollama create` makes a model: a merged GGUF file and a Modelfile.

Ollama takes the chat template from the GGUF file. It does not know answer contracts: what a LoRA writes as code tokens
stays so there.
"""

from __future__ import annotations

from pathlib import Path

from edge_runtime.errors import OutputError
from loragen.contract.atomic import write_atomic
from loragen.contract.bundle import BundleHeader

MODEL_FILE = "model.gguf"
MODELFILE = "Modelfile"

_QUOTES = '"""'


def make_modelfile(header: BundleHeader) -> str:
    """The Modelfile of a merged bundle, which lies beside the model.

    The temperature is 0, as specializations are measured; the residual prompt is the system message.

    Raises:
        OutputError: The residual prompt cannot be spelled in a Modelfile.
    """
    lines = [f"FROM ./{MODEL_FILE}", "PARAMETER temperature 0"]
    prompt = header.residual_prompt
    if prompt:
        # A Modelfile has no way to escape its quotes.
        if _QUOTES in prompt or prompt.endswith('"'):
            raise OutputError(
                "the residual prompt has quotes that no Modelfile can hold",
                "merge without --ollama, and give Ollama the system message yourself",
            )
        lines.append(f"SYSTEM {_QUOTES}{prompt}{_QUOTES}")
    return "\n".join(lines) + "\n"


def write_modelfile(directory: Path, text: str) -> None:
    """Write a Modelfile beside the model; last, so that a folder that has one is complete.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        write_atomic(directory / MODELFILE, text.encode())
    except OSError as e:
        raise OutputError(f"cannot write {MODELFILE}: {e.strerror or e}", "check permissions and the disk") from e
