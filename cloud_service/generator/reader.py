"""The cloud model as reader: a prompt and L meta vectors in, L meta states out, one forward pass, nothing sampled.

Meta vectors follow the prompt directly and padding follows them, so under causal attention a prompt's states cannot
depend on how long its neighbours are, and no mask is needed. Position ids run on from the prompt. States are read after
the final norm.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cloud_service.generator.config import GeneratorConfig
from cloud_service.generator.errors import CheckpointError, UnsupportedModelError

ADAPTED = ("q_proj", "v_proj")  # what the paper trains in the cloud model
HINT = "use adapter_rank 0 and train the cloud model itself, or a cloud model of another family"


class CloudReader(nn.Module):
    """Reads prompts with a Hugging Face causal LM."""

    def __init__(self, config: GeneratorConfig, model: PreTrainedModel, layers: int) -> None:
        super().__init__()
        self._decoder = [model.get_decoder()]  # in a list: the cloud model's weights are not this module's parameters
        positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        if positions is not None and config.max_prompt_tokens + layers > positions:
            raise CheckpointError(
                f"max_prompt_tokens is {config.max_prompt_tokens}, expected at most {positions - layers}: "
                f"the cloud model has {positions} positions, {layers} of them for the meta vectors"
            )
        embedding = model.get_input_embeddings()
        # Gemma multiplies what it looks up; meta vectors take the place of the result.
        spread = float(embedding.weight.detach().float().std()) * float(getattr(embedding, "embed_scale", 1.0))
        self.meta = nn.Parameter(torch.randn(layers, embedding.weight.shape[1]) * spread)
        self.adapter = CloudAdapter(config, self._decoder[0]) if config.adapter_rank else None

    @property
    def decoder(self) -> PreTrainedModel:
        """The cloud model without its language-model head."""
        return self._decoder[0]

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Meta states of a batch of prompts.

        Args:
            ids: (tasks, longest prompt) int64, padded on the right with any token.
            lengths: (tasks,) int64, tokens of each prompt.

        Returns:
            T, (tasks, layers, cloud hidden).
        """
        return self.read(ids, lengths)[0]

    def read(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Meta states as `forward` gives them, and the states of the prompts (tasks, longest prompt, cloud hidden).

        Prompts stand before the meta vectors, so their states are those of the cloud model without any.
        """
        layers, width = self.meta.shape
        embedded = self.decoder.get_input_embeddings()(ids)
        embedded = torch.cat([embedded, embedded.new_zeros(len(ids), layers, width)], dim=1)
        places = (lengths[:, None] + torch.arange(layers, device=ids.device))[:, :, None].expand(-1, -1, width)
        embedded = embedded.scatter(1, places, self.meta.to(embedded.dtype).expand(len(ids), -1, -1))
        hidden = self.decoder(inputs_embeds=embedded, use_cache=False).last_hidden_state
        return hidden.gather(1, places), hidden[:, : ids.shape[1]]


class CloudAdapter(nn.Module):
    """LoRA on the q and v projections of every layer of the cloud model, acting through hooks."""

    def __init__(self, config: GeneratorConfig, decoder: PreTrainedModel) -> None:
        super().__init__()
        self.scale = config.alpha / config.adapter_rank
        self.a, self.b = nn.ParameterDict(), nn.ParameterDict()
        layers = getattr(decoder, "layers", None)
        if layers is None:
            raise UnsupportedModelError(f"cloud model of type {decoder.config.model_type} has no layers", hint=HINT)
        for number, layer in enumerate(layers):
            for name in ADAPTED:
                linear = getattr(getattr(layer, "self_attn", None), name, None)
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
            x = inputs[0]
            return output + self.scale * (x @ self.a[key].to(x.dtype).mT @ self.b[key].to(x.dtype).mT)

        return add_delta


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[list[int]]:
    """Token ids of each prompt, with the tokenizer's beginning-of-sequence token in front where it has one."""
    encoded = [list(ids) for ids in tokenizer(list(prompts), add_special_tokens=False)["input_ids"]]
    bos = tokenizer.bos_token_id
    return encoded if bos is None else [[bos, *ids] for ids in encoded]


def pad_right(encoded: Sequence[Sequence[int]], multiple: int = 1) -> tuple[Tensor, Tensor]:
    """Ids padded with 0 to the longest, rounded up to a multiple; and lengths. Both int64."""
    longest = -(-max(map(len, encoded)) // multiple) * multiple
    ids = torch.zeros(len(encoded), longest, dtype=torch.long)
    for row, tokens in zip(ids, encoded, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    return ids, torch.tensor([len(tokens) for tokens in encoded])
