"""The list of edge families, against what both libraries call them."""

from gguf.constants import MODEL_ARCH_NAMES
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from loragen.contract.edge_families import EDGE_FAMILIES


def test_families_are_causal_models_of_transformers_and_architectures_of_llama_cpp() -> None:
    assert EDGE_FAMILIES.keys() <= MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys()
    assert set(EDGE_FAMILIES.values()) <= set(MODEL_ARCH_NAMES.values())
