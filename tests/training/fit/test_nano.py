"""The models of a pair from scratch."""

import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from tests.training.conftest import TrainedPair


def test_models_are_stored_with_their_tokenizer_and_template(tiny_pair: TrainedPair) -> None:
    for name, layers in (("edge", 2), ("cloud", 3)):
        model = LlamaForCausalLM.from_pretrained(tiny_pair.out / name, dtype="auto")
        assert model.dtype == torch.float16
        assert model.config.num_hidden_layers == layers
        tokenizer = AutoTokenizer.from_pretrained(tiny_pair.out / name)
        assert len(tokenizer) == model.config.vocab_size
        assert tokenizer.chat_template
