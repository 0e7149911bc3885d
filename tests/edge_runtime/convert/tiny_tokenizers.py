"""Helper of the tokenizer tests: texts to split, and sentencepiece models trained on the spot."""

import io
from typing import Any

import sentencepiece
from tokenizers import Tokenizer, models, normalizers

from tests.edge_runtime.tiny_models import (
    TEXT,
)

TEXTS = [
    TEXT,
    "",
    " ",
    "   leading, and trailing   ",
    "a\r\n\r\n\tb\n \n  c",
    "DON'T I'LL they'Re 1234567 12,345.67 x=1;y==2",
    "emoji 👩‍👩‍👧 ñandú — “quotes” … ﬁ",
    "한국어 العربية \u00a0nbsp\u3000wide",
    "tool_call(city=\"Paris\", n=3) -> {'a': [1, 2]}",
]


def train_sentencepiece(**options: Any) -> bytes:
    model = io.BytesIO()
    settings: dict[str, Any] = {
        "model_type": "bpe",
        "vocab_size": 380,
        "byte_fallback": True,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "character_coverage": 1.0,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.splitlines() * 3), model_writer=model, minloglevel=9, **settings | options
    )
    return model.getvalue()


def as_tokenizer_json(model: bytes, *, complete: bool = True) -> Tokenizer:
    """The rules that Hugging Face makes of a sentencepiece model: every pair whose union is a piece, best first."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = [processor.id_to_piece(i) for i in range(len(processor))]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    rules = [
        (-processor.get_score(vocab[piece]), cut, (piece[:cut], piece[cut:]))
        for piece in pieces[3:]
        if not processor.is_byte(vocab[piece])
        for cut in range(1, len(piece))
        if piece[:cut] in vocab and piece[cut:] in vocab
    ]
    merges = [pair for _, _, pair in sorted(rules)]
    tokenizer = Tokenizer(
        models.BPE(vocab, merges if complete else merges[:-1], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    space = "\N{LOWER ONE EIGHTH BLOCK}"
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(space), normalizers.Replace(" ", space)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": None}
