"""The prompt encoder: a prompt and L meta vectors in, L meta states out, in one forward pass of the cloud model.

The meta vectors follow the prompt directly, and padding follows them. Under causal attention a prompt's states then
cannot depend on the length of its neighbours in a batch, and no mask is needed. A model without a language-model head
is a bidirectional encoder: prompt and meta vectors attend to each other, and a mask hides the padding. Position ids of
the meta vectors continue those of the prompt. States are taken after the final norm.

Many encoders are uncased, but a description may ask for `FindApartment` or `DO_OPTIMIZE`. So an id holds the case of
its text beside the token, and the prompt encoder adds a trained vector for each case except the lower one. These
vectors begin at zero. An uncased encoder still loses white space.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
"""Names in three model families of the parts that the paper adapts: the layers, their attention, its q and v."""

CASES = ("lower", "capitalized", "upper", "mixed")
CASE_STRIDE = 1 << 24  # above any vocabulary: id + CASE_STRIDE * index in CASES
HINT = "use adapter_rank 0 and train the cloud model itself, or a cloud model of another family"


class PromptEncoder(nn.Module):
    """Turns prompts into meta states, with a Hugging Face causal LM or an encoder such as BERT."""

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
        # Gemma multiplies its embeddings by a constant; meta vectors stand for the product.
        spread = float(embedding.weight.detach().float().std()) * float(getattr(embedding, "embed_scale", 1.0))
        self.meta = nn.Parameter(torch.randn(layers, embedding.weight.shape[1]) * spread)
        if self._bidirectional:
            self.cases = nn.Parameter(torch.zeros(len(CASES) - 1, self.meta.shape[1]))
        self.adapter = CloudAdapter(config, self._decoder[0]) if config.adapter_rank else None

    @property
    def decoder(self) -> PreTrainedModel:
        """The cloud model without its language-model head; an encoder never has one."""
        return self._decoder[0]

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Meta states of a batch of prompts.

        Args:
            ids: (tasks, longest prompt) int64, as `encode_prompts` gives them, padded on the right with any token.
            lengths: (tasks,) int64, tokens of each prompt.

        Returns:
            T, (tasks, layers, cloud hidden).
        """
        return self.encode(ids, lengths)[0]

    def encode(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Meta states as `forward` gives them, and the states of the prompts (tasks, longest prompt, cloud hidden).

        In a causal LM the states of a prompt do not depend on the meta vectors behind it; in an encoder they do.
        """
        layers, width = self.meta.shape
        # The prompts' embeddings, (tasks, longest prompt, width); an encoder's ids hold the case of each token too.
        embedded = self.decoder.get_input_embeddings()(ids % CASE_STRIDE)
        if self._bidirectional:
            vectors = torch.cat([self.cases.new_zeros(1, width), self.cases])
            embedded = embedded + vectors[ids // CASE_STRIDE].to(embedded.dtype)
        # Meta vectors go directly behind each prompt: task t's l-th one to place lengths[t] + l of its row.
        embedded = torch.cat([embedded, embedded.new_zeros(len(ids), layers, width)], dim=1)
        places = (lengths[:, None] + torch.arange(layers, device=ids.device))[:, :, None].expand(-1, -1, width)
        embedded = embedded.scatter(1, places, self.meta.to(embedded.dtype).expand(len(ids), -1, -1))
        if self._bidirectional:
            mask = torch.arange(embedded.shape[1], device=ids.device) < (lengths + layers)[:, None]
            hidden = self.decoder(inputs_embeds=embedded, attention_mask=mask.long()).last_hidden_state
        else:
            hidden = self.decoder(inputs_embeds=embedded, use_cache=False).last_hidden_state
        # hidden: (tasks, longest prompt + layers, width); meta states are at the places of the meta vectors.
        return hidden.gather(1, places), hidden[:, : ids.shape[1]]


class CloudAdapter(nn.Module):
    """A LoRA on the q and v projections of every layer of the cloud model, added by hooks."""

    def __init__(self, config: GeneratorConfig, decoder: PreTrainedModel) -> None:
        super().__init__()
        self.scale = config.alpha / config.adapter_rank
        self._is_on = True
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

    @contextmanager
    def switched_off(self) -> Iterator[None]:
        """Within the block, the cloud model reads as it does without the adapter."""
        self._is_on = False
        try:
            yield
        finally:
            self._is_on = True

    def _hook(self, key: str) -> Callable[..., Tensor]:
        def add_delta(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            if not self._is_on:
                return output
            x = inputs[0].flatten(0, -2)
            # Only two operations, because on a GPU a short prompt takes as long as starting its operations takes.
            a, b = self.a[key].to(x.dtype), self.b[key].to(x.dtype)
            return torch.addmm(output.flatten(0, -2), x @ a.mT, b.mT, alpha=self.scale).view_as(output)

        return add_delta


def count_positions(model: PreTrainedModel) -> int | None:
    """The most tokens that a model takes at once; None where its configuration does not say."""
    positions: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    # RoBERTa and its relatives number positions from behind their padding token.
    padding = getattr(_reach(model, "embeddings.position_embeddings"), "padding_idx", None)
    return positions if positions is None or padding is None else positions - padding - 1


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[list[int]]:
    """Token ids of each prompt, with the special tokens that its model was trained with.

    A tokenizer with a classification token belongs to an encoder: it adds its own special tokens, and where it loses
    the case of letters, the ids hold it (`CASE_STRIDE`). For a causal LM, the beginning-of-sequence token comes first,
    if there is one.
    """
    if tokenizer.cls_token_id is not None:
        loses_case = tokenizer("A")["input_ids"] == tokenizer("a")["input_ids"]
        # Not verbose: the service itself refuses prompts that are too long.
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
    """Ids (prompts, longest) int64, padded with 0 up to a multiple; and their lengths (prompts,) int64."""
    longest = -(-max(map(len, encoded)) // multiple) * multiple
    ids = torch.zeros(len(encoded), longest, dtype=torch.long)
    for row, tokens in zip(ids, encoded, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    return ids, torch.tensor([len(tokens) for tokens in encoded])


def _case(text: str) -> int:
    """Index in CASES of a token's text; a single capital letter is capitalized."""
    if text == text.lower():
        return 0
    return 1 if text == text.capitalize() else 2 if text == text.upper() else 3


def _reach(module: Any, path: str) -> Any:
    """The attribute at a dotted path, or None."""
    for name in path.split("."):
        module = getattr(module, name, None)
    return module
