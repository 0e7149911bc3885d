"""llama.cpp loads an exported adapter, and the model is then the one with the delta added to its weights."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import pytest

from loragen.contract.answer import AnswerContract, parse_answer
from loragen.contract.bundle import Bundle
from loragen.contract.errors import MismatchError, NonFiniteError
from loragen.contract.gguf_adapter import GgufModel, gguf_factors, write_gguf_adapter
from loragen.contract.lora import Block, EdgeShape
from loragen.contract.names import LINEARS, gguf_name

SHAPE = EdgeShape(layers=2, hidden=64, intermediate=96)
VOCABULARY, HEADS, KEY_VALUE_HEADS = 32, 4, 2
MODEL = GgufModel("llama", HEADS, KEY_VALUE_HEADS)
WIDTHS = {"q": (64, 64), "k": (64, 32), "v": (64, 32), "o": (64, 64)}
TOKENS = [1, 5, 9, 2, 31, 7]


def write_model(path: Path, architecture: str = "llama", delta: Bundle | None = None) -> None:
    """A random float32 model without a tokenizer; `delta` is added to its weights."""
    rng = np.random.default_rng(0)

    def weight(rows: int, columns: int) -> np.ndarray:
        return rng.standard_normal((rows, columns)).astype(np.float32) / np.float32(columns**0.5)

    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(SHAPE.layers)
    writer.add_context_length(64)
    writer.add_embedding_length(SHAPE.hidden)
    writer.add_feed_forward_length(SHAPE.intermediate)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(SHAPE.hidden // HEADS)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("no_vocab")
    writer.add_tensor("token_embd.weight", weight(VOCABULARY, SHAPE.hidden))
    writer.add_tensor("output_norm.weight", np.ones(SHAPE.hidden, np.float32))
    for layer in range(SHAPE.layers):
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{norm}.weight", np.ones(SHAPE.hidden, np.float32))
        for projection in LINEARS:
            width_in, width_out = WIDTHS.get(projection) or SHAPE.in_out(projection)
            values = weight(width_out, width_in)
            if delta is not None and (layer, projection) in delta.lora.factors:
                a, b = gguf_factors(delta.lora, MODEL)[gguf_name(layer, projection)]
                values += b.astype(np.float32) @ a.astype(np.float32)
            writer.add_tensor(gguf_name(layer, projection), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@contextmanager
def loaded_model(path: Path) -> Iterator[llama_cpp.llama_model_p]:
    parameters = llama_cpp.llama_model_default_params()
    parameters.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(bytes(path), parameters)
    assert model
    try:
        yield model
    finally:
        llama_cpp.llama_model_free(model)


def logits(model_path: Path, adapter_path: Path | None = None) -> np.ndarray:
    """Logits of the last token, (vocabulary,) float32, by llama.cpp itself."""
    with loaded_model(model_path) as model:
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx, parameters.n_threads, parameters.n_threads_batch = 64, 1, 1
        context = llama_cpp.llama_init_from_model(model, parameters)
        assert context
        try:
            if adapter_path is not None:
                adapter = llama_cpp.llama_adapter_lora_init(model, bytes(adapter_path))
                assert adapter
                adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(adapter)
                assert llama_cpp.llama_set_adapters_lora(context, adapters, 1, (ctypes.c_float * 1)(1.0)) == 0
            tokens = (llama_cpp.llama_token * len(TOKENS))(*TOKENS)
            batch = llama_cpp.llama_batch_get_one(tokens, len(TOKENS))
            assert llama_cpp.llama_decode(context, batch) == 0
            values = llama_cpp.llama_get_logits_ith(context, -1)
            return np.ctypeslib.as_array(values, (VOCABULARY,)).copy()
        finally:
            llama_cpp.llama_free(context)


@pytest.mark.parametrize(
    "ranks",
    [
        dict.fromkeys(SHAPE.blocks(), 4),
        {(0, "up"): 3, (1, "gate"): 2, (1, "down"): 7},
        {(1, "down"): 5},
        {(0, "q"): 3, (0, "k"): 4, (1, "v"): 2, (1, "o"): 5},
    ],
    ids=["all alike", "some", "one", "attention"],
)
def test_llama_cpp_gives_the_logits_of_the_patched_model(
    make_bundle: Callable[..., Bundle], tmp_path: Path, ranks: dict[Block, int]
) -> None:
    """The adapter on the base against the same delta written into the weights."""
    bundle = make_bundle(SHAPE, ranks=ranks, scale=0.4)
    write_model(tmp_path / "base.gguf")
    write_model(tmp_path / "patched.gguf", delta=bundle)
    write_gguf_adapter(bundle, tmp_path / "adapter.gguf", MODEL)

    base = logits(tmp_path / "base.gguf")
    adapted = logits(tmp_path / "base.gguf", tmp_path / "adapter.gguf")
    patched = logits(tmp_path / "patched.gguf")

    assert np.abs(patched - base).max() > 0.1  # the adapter does something
    np.testing.assert_allclose(adapted, patched, atol=0.01 * np.abs(patched - base).max())


def test_adapter_for_another_architecture_is_refused_by_llama_cpp(
    make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    write_model(tmp_path / "base.gguf")
    write_gguf_adapter(make_bundle(SHAPE), tmp_path / "adapter.gguf", GgufModel("qwen2"))
    with loaded_model(tmp_path / "base.gguf") as model:
        assert not llama_cpp.llama_adapter_lora_init(model, bytes(tmp_path / "adapter.gguf"))


def test_adapter_says_which_base_and_answers_it_is_for(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    answer = AnswerContract("choice", ("ja", "nö"))
    bundle = make_bundle(SHAPE, answer=answer, residual_prompt="Sort each mail.\nIn Zürich, 東京.")
    write_gguf_adapter(bundle, tmp_path / "one.gguf", MODEL)
    write_gguf_adapter(bundle, tmp_path / "two.gguf", MODEL)
    reader = gguf.GGUFReader(tmp_path / "one.gguf")
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.type"] == "adapter"
    assert fields["adapter.type"] == "lora"
    assert fields["adapter.lora.alpha"] == 0.0
    assert parse_answer(fields["loragen.answer"]) == answer
    assert fields["loragen.residual_prompt"] == "Sort each mail.\nIn Zürich, 東京."
    assert fields["loragen.edge_model.id"] == "test/edge"
    assert fields["loragen.edge_model.digest"] == bundle.header.edge_model_digest
    assert (tmp_path / "one.gguf").read_bytes() == (tmp_path / "two.gguf").read_bytes()


def test_adapter_with_nan_is_not_written(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    """llama.cpp would load it without a word."""
    bundle = make_bundle(SHAPE)
    bundle.lora.factors[1, "up"][0][0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="layer 1 up A"):
        write_gguf_adapter(bundle, tmp_path / "adapter.gguf", MODEL)
    assert list(tmp_path.iterdir()) == []


def test_queries_and_keys_have_their_rows_in_the_order_of_llama_cpp(make_bundle: Callable[..., Bundle]) -> None:
    """Neighbours rotate together in a Llama there, halves in Hugging Face; other families agree on the order."""
    bundle = make_bundle(SHAPE, ranks={(0, "q"): 1, (0, "k"): 1, (0, "v"): 1})
    factors = {name: bundle.lora.factors[0, name][1][:, 0] for name in "qkv"}
    llama = {name.split(".")[2]: b[:, 0] for name, (_, b) in gguf_factors(bundle.lora, MODEL).items()}
    # A head has 16 rows: the first half of each and the second half take turns.
    assert llama["attn_q"][:4].tolist() == factors["q"][[0, 8, 1, 9]].tolist()
    assert llama["attn_q"][16:18].tolist() == factors["q"][[16, 24]].tolist()
    assert llama["attn_k"][:4].tolist() == factors["k"][[0, 8, 1, 9]].tolist()
    assert llama["attn_v"].tolist() == factors["v"].tolist()
    qwen = gguf_factors(bundle.lora, GgufModel("qwen2", HEADS, KEY_VALUE_HEADS))
    assert qwen["blk.0.attn_q.weight"][1][:, 0].tolist() == factors["q"].tolist()


def test_factors_for_another_number_of_heads_are_refused(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle(SHAPE, ranks={(0, "q"): 1})
    with pytest.raises(MismatchError, match="heads"):
        gguf_factors(bundle.lora, GgufModel("llama", 3))
