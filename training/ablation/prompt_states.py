"""A frozen prompt encoder with a cache: all variants read the same prompts, and each prompt is read only once."""

import torch
from torch import Tensor, nn

from cloud_service.generator.prompt_encoder import PromptEncoder, pad_right


class RememberingPromptEncoder(nn.Module):
    """A frozen prompt encoder that reads each prompt once, and alone."""

    def __init__(self, prompt_encoder: PromptEncoder) -> None:
        super().__init__()
        # In a list: its parameters are neither trained nor counted.
        self._prompt_encoder = [prompt_encoder.requires_grad_(False).eval()]
        self.meta = prompt_encoder.meta
        adapter = prompt_encoder.adapter
        self.adapter_rank = 0 if adapter is None else next(iter(adapter.a.values())).shape[0]
        self._known: dict[tuple[int, ...], Tensor] = {}

    def begin(self, prompt_encoder: PromptEncoder) -> None:
        """Lets another one, of the same cloud model, start from this one; an adapter that this one lacks stays."""
        prompt_encoder.load_state_dict(self._prompt_encoder[0].state_dict(), strict=False)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Meta states as `PromptEncoder` gives them, (prompts, layers, cloud hidden) float32."""
        keys = [tuple(row[:length].tolist()) for row, length in zip(ids, lengths, strict=True)]
        for key in keys:
            if key not in self._known:
                with torch.no_grad():
                    self._known[key] = self._prompt_encoder[0](*pad_right([key]))[0].float()
        return torch.stack([self._known[key] for key in keys])
