"""Models of true shapes with random weights, and texts of a chosen length."""

import torch

from benchmarks.random_pair import SHAPES, make_model, make_text, make_tokenizer


def test_model_is_made_where_it_computes() -> None:
    """On the device `meta`, which keeps no numbers: a tensor that was made elsewhere would show."""
    model = make_model(SHAPES["llama3-8b"](), torch.device("meta"), torch.bfloat16)
    assert {tensor.device.type for tensor in [*model.parameters(), *model.buffers()]} == {"meta"}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert sum(parameter.numel() for parameter in model.parameters()) == 8_030_261_248


def test_text_has_the_tokens_asked_for_and_is_another_for_each_number() -> None:
    texts = [make_text(tokens, number) for tokens in (30, 51, 200) for number in (0, 1)]
    encoded = make_tokenizer()(texts, add_special_tokens=False)["input_ids"]
    assert [len(ids) for ids in encoded] == [30, 30, 51, 51, 200, 200]
    assert len(set(texts)) == 6
    assert texts == [text.strip() for text in texts]
