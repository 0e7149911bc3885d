"""How byte-level BPE splits text before it merges: llama.cpp's names, and the expressions behind two of them.

GGUF files carry a name only. Both sides need what it stands for: the device when it converts a `tokenizer.json`, the
cloud when it makes a tokenizer of a GGUF file. Tests compare the token ids of both with those of llama.cpp.
"""

GPT_2, SMOLLM, LLAMA_3, QWEN_2 = "gpt-2", "smollm", "llama-bpe", "qwen2"

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_PLAIN = r"|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

SPLITS = {
    LLAMA_3: _CONTRACTIONS + _PLAIN + r"|\p{N}{1,3}" + _REST,
    QWEN_2: _CONTRACTIONS + _PLAIN + r"|\p{N}" + _REST,
}
"""Expressions of the pieces that a text is split into. GPT-2's stands in every byte-level pre-tokenizer; SmolLM's
takes single digits out first, and then splits like GPT-2."""
