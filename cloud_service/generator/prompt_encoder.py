"""The prompt encoder: a prompt and L meta vectors in, L meta states out, one forward pass, nothing sampled.

Meta vectors follow the prompt directly and padding follows them, so under causal attention a prompt's states cannot
depend on how long its neighbours are, and no mask is needed. A model without a language-model head is taken for a
bidirectional encoder: prompt and meta vectors see each other, and a mask hides the padding. Position ids run on from
the prompt. States are read after the final norm.

Many encoders are uncased, but a description may ask for `FindApartment` or `DO_OPTIMIZE`. So an id tells, beside the
token, which case its text had, and the prompt encoder adds a trained vector for each case but the lower one; they start
as nothing. White space is still lost on such an encoder.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.generator.config import GeneratorConfig
from cloud_service.generator.errors import CheckpointError, UnsupportedModelError

LAYOUTS = (
    ("layers", "self_attn", ("q_proj", "v_proj")),
    ("encoder.layer", "attention.self", ("query", "value")),
    ("transformer.layer", "attention", ("q_lin", "v_lin")),
)
"""Where model families keep what the paper trains in the cloud model: layers, their attention, its q and v."""

CASES = ("lower", "capitalized", "upper", "mixed")
CASE_STRIDE = 1 << 24  # above any vocabulary: id + CASE_STRIDE * index in CASES
HINT = "use adapter_rank 0 and train the cloud model itself, or a cloud model of another family"


class PromptEncoder(nn.Module):
    """Reads prompts with a Hugging Face causal LM, or an encoder such as BERT."""

    def __init__(self, config: GeneratorConfig, model: PreTrainedModel, layers: int) -> None:
        super().__init__()
        self._decoder = [model.get_decoder()]  # in a list: the cloud model's weights are not this module's parameters
        self._bidirectional = model.get_output_embeddings() is None
        positions = count_positions(model)
        if positions is not None and config.max_prompt_tokens + layers > positions:
            raise CheckpointError(
                f"max_prompt_tokens is {config.max_prompt_tokens}, expected at most {positions - layers}: "
                f"the cloud model has {positions} positions, {layers} of them for the meta vectors"
            )
        embedding = model.get_input_embeddings()
        # Gemma multiplies what it looks up; meta vectors take the place of the result.
        spread = float(embedding.weight.detach().float().std()) * float(getattr(embedding, "embed_scale", 1.0))
        self.meta = nn.Parameter(torch.randn(layers, embedding.weight.shape[1]) * spread)
        if self._bidirectional:
            self.cases = nn.Parameter(torch.zeros(len(CASES) - 1, self.meta.shape[1]))
        self.adapter = CloudAdapter(config, self._decoder[0]) if config.adapter_rank else None

    @property
    def decoder(self) -> PreTrainedModel:
        """The cloud model without its language-model head; an encoder has none to begin with."""
        return self._decoder[0]

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Meta states of a batch of prompts.

        Args:
            ids: (tasks, longest prompt) int64, as `encode_prompts` gives them, padded on the right with any token.
            lengths: (tasks,) int64, tokens of each prompt.

        Returns:
            T, (tasks, layers, cloud hidden).
        """
        return self.read(ids, lengths)[0]

    def read(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Meta states as `forward` gives them, and the states of the prompts (tasks, longest prompt, cloud hidden).

        In a causal LM, prompts stand before the meta vectors, so their states are those of the cloud model without any.
        In an encoder, they have seen the meta vectors.
        """
        layers, width = self.meta.shape
        embedded = self.decoder.get_input_embeddings()(ids % CASE_STRIDE)
        if self._bidirectional:
            vectors = torch.cat([self.cases.new_zeros(1, width), self.cases])
            embedded = embedded + vectors[ids // CASE_STRIDE].to(embedded.dtype)
        embedded = torch.cat([embedded, embedded.new_zeros(len(ids), layers, width)], dim=1)
        places = (lengths[:, None] + torch.arange(layers, device=ids.device))[:, :, None].expand(-1, -1, width)
        embedded = embedded.scatter(1, places, self.meta.to(embedded.dtype).expand(len(ids), -1, -1))
        if self._bidirectional:
            mask = torch.arange(embedded.shape[1], device=ids.device) < (lengths + layers)[:, None]
            hidden = self.decoder(inputs_embeds=embedded, attention_mask=mask.long()).last_hidden_state
        else:
            hidden = self.decoder(inputs_embeds=embedded, use_cache=False).last_hidden_state
        return hidden.gather(1, places), hidden[:, : ids.shape[1]]


class CloudAdapter(nn.Module):
    """LoRA on the q and v projections of every layer of the cloud model, acting through hooks."""

    def __init__(self, config: GeneratorConfig, decoder: PreTrainedModel) -> None:
        super().__init__()
        self.scale = config.alpha / config.adapter_rank
        self.a, self.b = nn.ParameterDict(), nn.ParameterDict()
        found = [layout for layout in LAYOUTS if _reach(decoder, layout[0]) is not None]
        if not found:
            raise UnsupportedModelError(f"cloud model of type {decoder.config.model_type} has no layers", hint=HINT)
        place, attention, names = found[0]
        for number, layer in enumerate(_reach(decoder, place)):
            for name in names:
                linear = _reach(layer, f"{attention}.{name}")
                if not isinstance(linear, nn.Linear):
                    raise UnsupportedModelError(
                        f"layer {number} of {decoder.config.model_type} has no {name}",
                        hint=HINT,
                    )
                key = f"{number}_{name}"
                self.a[key] = nn.Parameter(
                    torch.randn(config.adapter_rank, linear.in_features) / math.sqrt(linear.in_features)
                )
                self.b[key] = nn.Parameter(torch.zeros(linear.out_features, config.adapter_rank))
                linear.register_forward_hook(self._hook(key))

    def _hook(self, key: str) -> Callable[..., Tensor]:
        def add_delta(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            x = inputs[0].flatten(0, -2)
            # Only two operations: a short prompt takes a GPU as long as it takes to start all of them.
            a, b = self.a[key].to(x.dtype), self.b[key].to(x.dtype)
            return torch.addmm(output.flatten(0, -2), x @ a.mT, b.mT, alpha=self.scale).view_as(output)

        return add_delta


def count_positions(model: PreTrainedModel) -> int | None:
    """Tokens that a model can hold at once; None where it says nothing of it."""
    positions: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    # RoBERTa and its kin number places from behind their padding token.
    padding = getattr(_reach(model, "embeddings.position_embeddings"), "padding_idx", None)
    return positions if positions is None or padding is None else positions - padding - 1


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[list[int]]:
    """Token ids of each prompt, with the special tokens that its model was trained with around it.

    For an encoder's tokenizer, known by its classification token, these are the tokenizer's own, and where it loses the
    case of letters, ids tell it (`CASE_STRIDE`); for a causal LM's, the beginning-of-sequence token in front where it
    has one.
    """
    if tokenizer.cls_token_id is not None:
        loses_case = tokenizer("A")["input_ids"] == tokenizer("a")["input_ids"]
        # Not verbose: what a prompt may have at most is the service's to say, and it refuses what is longer.
        encoded = tokenizer(list(prompts), return_offsets_mapping=loses_case, verbose=False)
        if not loses_case:
            return [list(ids) for ids in encoded["input_ids"]]
        return [
            [token + CASE_STRIDE * _case(prompt[start:end]) for token, (start, end) in zip(ids, spans, strict=True)]
            for prompt, ids, spans in zip(prompts, encoded["input_ids"], encoded["offset_mapping"], strict=True)
        ]
    encoded = [list(ids) for ids in tokenizer(list(prompts), add_special_tokens=False, verbose=False)["input_ids"]]
    bos = tokenizer.bos_token_id
    return encoded if bos is None else [[bos, *ids] for ids in encoded]


def pad_right(encoded: Sequence[Sequence[int]], multiple: int = 1) -> tuple[Tensor, Tensor]:
    """Ids padded with 0 to the longest, rounded up to a multiple; and lengths. Both int64."""
    longest = -(-max(map(len, encoded)) // multiple) * multiple
    ids = torch.zeros(len(encoded), longest, dtype=torch.long)
    for row, tokens in zip(ids, encoded, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    return ids, torch.tensor([len(tokens) for tokens in encoded])


def _case(text: str) -> int:
    """Index in CASES of what a token stands for; a single capital letter is capitalized."""
    if text == text.lower():
        return 0
    return 1 if text == text.capitalize() else 2 if text == text.upper() else 3


def _reach(module: Any, path: str) -> Any:
    """What a dotted path leads to, or None."""
    for name in path.split("."):
        module = getattr(module, name, None)
    return module
