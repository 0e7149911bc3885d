"""Tokenizers of GGUF files: the ids of llama.cpp, or a refusal.

A GGUF file names its pre-tokenizer, and nothing else says how text is split. So a tokenizer is built only where tests
compare its ids with those of llama.cpp: byte-level BPE with the pre-tokenizers of GPT-2, SmolLM, Llama 3 and Qwen 2,
and Gemma's sentencepiece BPE, which transformers builds.
"""

from pathlib import Path

from gguf.constants import Keys, TokenType
from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from cloud_service.generator.errors import UnsupportedModelError
from cloud_service.generator.gguf_model import read_gguf
from loragen.contract.gguf_header import Header
from loragen.contract.pre_tokenizers import GPT_2, LLAMA_3, QWEN_2, SMOLLM, SPLITS

_ROLES = {
    "bos_token": Keys.Tokenizer.BOS_ID,
    "eos_token": Keys.Tokenizer.EOS_ID,
    "unk_token": Keys.Tokenizer.UNK_ID,
    "pad_token": Keys.Tokenizer.PAD_ID,
}


def load_gguf_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a GGUF file, with its chat template.

    Raises:
        UnsupportedModelError: It is of a kind that may give other ids here than on a device, or malformed.
    """
    header = read_gguf(path)
    model, pre = header.string(Keys.Tokenizer.MODEL), header.string(Keys.Tokenizer.PRE)
    if model == "gpt2" and pre in (GPT_2, SMOLLM, *SPLITS):
        return _byte_level(header, pre, path.name)
    if model == "llama" and (header.string(Keys.General.ARCHITECTURE) or "").startswith("gemma"):
        loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        return loaded
    raise UnsupportedModelError(
        f"{path.name} has the tokenizer {model} {pre}, expected gpt2 with {GPT_2}, {SMOLLM}, {LLAMA_3} or {QWEN_2}, "
        "or one of the Gemma family",
        hint="others may give other token ids here than on a device; use the model in Hugging Face form",
    )


def _byte_level(header: Header, pre: str, file: str) -> PreTrainedTokenizerBase:
    tokens, types = header.texts(Keys.Tokenizer.LIST), header.integers(Keys.Tokenizer.TOKEN_TYPE)
    merges = header.texts(Keys.Tokenizer.MERGES)
    if not tokens or types is None or merges is None or len(types) != len(tokens):
        raise UnsupportedModelError(f"{file} lacks tokens, their types, or merges")
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    # Llama 3 looks whole words up before it merges, and llama.cpp ties that to the pre-tokenizer's name.
    tokenizer = Tokenizer(BPE({token: i for i, token in enumerate(tokens)}, pairs, ignore_merges=pre == LLAMA_3))
    tokenizer.pre_tokenizer = _pre_tokenizer(pre)
    tokenizer.decoder = decoders.ByteLevel()
    for token, kind in zip(tokens, types, strict=True):
        if kind in (TokenType.CONTROL, TokenType.USER_DEFINED):
            special = kind == TokenType.CONTROL
            tokenizer.add_tokens([AddedToken(token, special=special, normalized=False)])
    roles = {role: header.integer(key) for role, key in _ROLES.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=header.string(Keys.Tokenizer.CHAT_TEMPLATE),
        clean_up_tokenization_spaces=False,
        **{role: tokens[i] for role, i in roles.items() if i is not None and i < len(tokens)},
    )


def _pre_tokenizer(pre: str) -> pre_tokenizers.PreTokenizer:
    if pre in SPLITS:
        steps = [pre_tokenizers.Split(Regex(SPLITS[pre]), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    elif pre == SMOLLM:
        steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    else:
        return pre_tokenizers.ByteLevel(False)
    return pre_tokenizers.Sequence(steps)
