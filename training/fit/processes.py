"""The processes of one run: one on a laptop, many under `torchrun`. What a step gives does not depend on how many.

Each process draws the whole step from its number and computes its share. A loss is the sum of the shares, and so is a
gradient; nothing is averaged, so nothing depends on the split. Trained tensors are whole in every process, and equal.
Of a frozen model, the layers can be sharded (FSDP), which is where the memory of a large cloud model goes.

Devices, backends and process groups are accelerate's. Sharding calls torch's `fully_shard` itself, because accelerate
prepares a model only together with its optimizer, and here the sharded model has none.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import PreTrainedModel


class Processes:
    """This process among those of its run.

    Attributes:
        count: Processes in all.
        rank: Number of this one, from 0.
        device: Where this process computes.
    """

    def __init__(self) -> None:
        self._state = PartialState(cpu=not torch.cuda.is_available())
        self.count: int = self._state.num_processes
        self.rank: int = self._state.process_index
        self.device: torch.device = self._state.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, total: int) -> slice:
        """This process's part of `total` tasks or rows.

        Raises:
            ValueError: They cannot be split evenly.
        """
        if total % self.count:
            raise ValueError(f"{total} tasks or rows cannot be split evenly over {self.count} processes")
        size = total // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    def gather(self, part: Tensor) -> Tensor:
        """The parts of all processes, one after another, (count * rows, ...) from (rows, ...); gradients flow back."""
        if self.count == 1:
            return part
        gathered: Tensor = _Gather.apply(part, self)
        return gathered

    def sum(self, value: Tensor) -> Tensor:
        """Sum over processes, in place."""
        if self.count > 1:
            distributed.all_reduce(value)
        return value

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Gives every process the gradient of the whole step's loss."""
        if self.count > 1:
            for parameter in parameters:
                if parameter.requires_grad:
                    if parameter.grad is None:  # each process must take part in each sum
                        parameter.grad = torch.zeros_like(parameter)
                    distributed.all_reduce(parameter.grad)

    def shard(self, model: PreTrainedModel) -> None:
        """Puts a frozen decoder on the processes' devices, a part of its weights on each.

        A layer is gathered while it computes. The embedding stays whole: the prompt encoder looks tokens up by itself.
        So does an encoder, which is small.
        """
        decoder, embedding = model.get_decoder(), model.get_input_embeddings()
        if self.count == 1 or not hasattr(decoder, "layers"):
            model.to(self.device)
            return
        mesh = init_device_mesh(self.device.type, (self.count,))
        for layer in decoder.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(decoder, mesh=mesh, ignored_params=set(embedding.parameters()))
        embedding.to(self.device)

    def main_first(self) -> AbstractContextManager[None]:
        """Within the block, the others wait until the main process has left it."""
        block: AbstractContextManager[None] = self._state.main_process_first()
        return block

    def wait(self) -> None:
        """Waits until every process has come here."""
        self._state.wait_for_everyone()


class _Gather(torch.autograd.Function):
    """All parts from each; gradients come back summed, which torch's own differentiable `all_gather` got wrong here."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        parts = [torch.empty_like(part) for _ in range(processes.count)]
        distributed.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        whole = ctx.processes.sum(gradients[0].clone())
        return whole[ctx.processes.share(len(whole))], None
