"""The generator: slots of a description in, cores of the edge model's LoRA out.

The LoRA of one adapted projection is `B (G0 + G) A`. A reads directions of what the projection reads, B writes
directions of what it writes; both are trained once and belong to the bank, as does G0, which every task shares. Entry
(i, j) of the core is the gate of the rank-one expert `b_i a_j`: rank^2 experts at the price of `rank`.

A task's core is a sum over slots: `G = sum_s w_s (V v_s) (K k_s)^T`, a memory that answers the key `k_s` (what the
slot's piece means) with the value `v_s` (what the slot spells). Latent slots, which have read all others, carry what
holds for every input. So a name that no training met is bound to its meaning by arithmetic, not by recall.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.memory.edge import PROJECTIONS, Core, Cores
from training.memory.pieces import KINDS
from training.memory.slots import MOST_PLACE, Slots

Gates = tuple[Tensor, Tensor]
"""Of the memory (tasks, layers, groups, rank, rank), of the skills (tasks, layers, groups, skills)."""
UNITS = 0.1  # size of a skill's A: its input is in units of a tenth of its sum of sizes, so it reads numbers of about 1


@dataclass(frozen=True, slots=True)
class GeneratorShape:
    """What shapes a generator.

    Attributes:
        first: The first adapted edge layer.
        layers: How many layers the edge model has.
        hidden: Width of the edge model's states.
        inner: Width of its feed-forward layers.
        encoder: Width of the prompt encoder.
        rank: Of the LoRA; a core has rank^2 gates.
        width: Of the part that reads slots together.
        heads: Of its attention.
        depth: Its layers.
        latents: Its latent slots, one for each adapted layer at least.
        skills: Rank-one experts of an adapted projection, beside the memory.
        router_width: Width of a router.
        keys: Width in which slots are keyed.
        values: Width in which they are spelled.
    """

    first: int
    layers: int
    hidden: int
    inner: int
    encoder: int
    rank: int = 32
    width: int = 256
    heads: int = 4
    depth: int = 2
    latents: int = 16
    skills: int = 32
    router_width: int = 128
    keys: int = 64
    values: int = 192

    @property
    def adapted(self) -> int:
        """How many layers are adapted."""
        return self.layers - self.first

    def in_out(self, projection: str) -> tuple[int, int]:
        """Widths of a projection."""
        return (self.inner, self.hidden) if projection == "down" else (self.hidden, self.inner)


class CoreBank(nn.Module):
    """A (layers, rank, in), B (layers, out, rank) and the shared core G0 (layers, groups, rank, rank)."""

    def __init__(self, shape: GeneratorShape) -> None:
        super().__init__()
        self.shape = shape
        adapted = shape.adapted
        self.a, self.b = nn.ParameterDict(), nn.ParameterDict()
        for projection in PROJECTIONS:
            size_in, size_out = shape.in_out(projection)
            self.a[projection] = nn.Parameter(torch.randn(adapted, shape.rank, size_in) / math.sqrt(size_in))
            self.b[projection] = nn.Parameter(torch.randn(adapted, size_out, shape.rank) / math.sqrt(shape.rank) * 0.3)
            # What A reads is large and uneven; a step of A counts in units of it (see `start_warm`).
            self.register_buffer(f"reach_{projection}", torch.ones(adapted))
        self.shared = nn.Parameter(torch.zeros(adapted, len(PROJECTIONS), shape.rank, shape.rank))
        self.skill_a, self.skill_b = nn.ParameterDict(), nn.ParameterDict()
        for projection in PROJECTIONS:
            size_in, size_out = shape.in_out(projection)
            self.skill_a[projection] = nn.Parameter(torch.randn(adapted, shape.skills, size_in) * UNITS / size_in**0.5)
            self.skill_b[projection] = nn.Parameter(torch.zeros(adapted, size_out, shape.skills))

    def reach(self, projection: str) -> Tensor:
        """(layers,) float32: in which unit A and the skills count what they read."""
        reach: Tensor = getattr(self, f"reach_{projection}")
        return reach

    def forward(self, gates: Gates, owner: Tensor) -> Cores:
        """Cores of rows.

        Args:
            gates: Of every task.
            owner: (rows,) int64, the task of each row.
        """
        memory, skills = gates
        cores = {}
        for layer in range(self.shape.adapted):
            for group, projection in enumerate(PROJECTIONS):
                reach = self.reach(projection)[layer]
                core = (memory[:, layer, group] + self.shared[layer, group])[owner]
                skill_a = self.skill_a[projection][layer] / reach
                cores[self.shape.first + layer, projection] = Core(
                    self.a[projection][layer] / reach,
                    core,
                    self.b[projection][layer],
                    skill_a,
                    skills[:, layer, group][owner],
                    self.skill_b[projection][layer],
                )
        return cores


class Block(nn.Module):
    """One pre-norm layer of self-attention over latents and slots."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """States (tasks, slots, width) under a mask (tasks, slots) bool."""
        q, k, v = self.qkv(self.norm_attention(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out


class Generator(nn.Module):
    """Everything that is trained.

    Args:
        shape: Sizes.
        spelling: (vocabulary, hidden) float32, the edge model's embedding; read, not trained.
    """

    def __init__(self, shape: GeneratorShape, spelling: Tensor) -> None:
        super().__init__()
        self.shape = shape
        self._spelling = [spelling]  # in a list: the edge model's weights are not this module's parameters
        width, adapted, groups = shape.width, shape.adapted, len(PROJECTIONS)
        self.bank = CoreBank(shape)
        self.mean_meaning: Tensor
        self.mean_spelling: Tensor
        self.register_buffer("mean_meaning", torch.zeros(shape.encoder))
        self.register_buffer("mean_spelling", spelling.mean(0))
        self.meaning, self.context = nn.Linear(shape.encoder, width), nn.Linear(shape.encoder, width)
        self.spelled = nn.Linear(shape.hidden, width)
        self.kind, self.place = nn.Embedding(len(KINDS), width), nn.Embedding(MOST_PLACE + 1, width)
        self.latents = nn.Parameter(torch.randn(shape.latents, width) * 0.5)
        self.blocks = nn.ModuleList(Block(width, shape.heads) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(width)
        self.key_of_meaning = nn.Linear(shape.encoder, shape.keys, bias=False)
        self.key_of_state = nn.Linear(width, shape.keys)
        self.value_of_spelling = nn.Linear(shape.hidden, shape.values, bias=False)
        self.value_of_state = nn.Linear(width, shape.values)
        self.weight_of_state = nn.Linear(width, 1)
        self.weight_of_kind = nn.Embedding(len(KINDS), 1)
        self.weight_of_place = nn.Embedding(MOST_PLACE + 1, 1)
        self.latent_key, self.latent_value = nn.Linear(width, shape.keys), nn.Linear(width, shape.values)
        self.to_key = nn.Parameter(torch.randn(adapted, groups, shape.keys, shape.rank) / math.sqrt(shape.keys))
        self.to_value = nn.Parameter(torch.randn(adapted, groups, shape.values, shape.rank) / math.sqrt(shape.values))
        self.strength = nn.Parameter(torch.full((adapted, groups), 0.05))
        self.router_in = nn.Parameter(torch.randn(adapted, width, shape.router_width) / math.sqrt(width))
        self.router_bias = nn.Parameter(torch.zeros(adapted, shape.router_width))
        self.router_out = nn.Parameter(
            torch.randn(adapted, shape.router_width, groups * shape.skills) / math.sqrt(shape.router_width)
        )
        for linear in (self.key_of_state, self.value_of_state, self.weight_of_state):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        with torch.no_grad():
            self.weight_of_kind.weight[:, 0] = torch.tensor([-1.5, -3.0, 2.0, -2.0, 0.0, 2.0])
            self.weight_of_place.weight.fill_(-1.5)
            self.weight_of_place.weight[0] = 0.0
            self.latent_value.weight.mul_(0.3)

    @property
    def vocabulary(self) -> int:
        """How many tokens the edge model has."""
        return len(self._spelling[0])

    def centred_spelling(self, ids: Tensor) -> Tensor:
        """Spellings (..., hidden) of edge tokens (...,) int64, without what all share, of one size."""
        spelled = self._spelling[0][ids] - self.mean_spelling
        return spelled / spelled.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-6)

    def forward(self, slots: Slots) -> Gates:
        """Gates of the memory (tasks, layers, groups, rank, rank) and of the skills (tasks, layers, groups, skills).

        The shared core is not in the first; the second are around 1, where a skill is what all tasks share.
        """
        tasks = len(slots.ids)
        meanings = slots.meanings - self.mean_meaning
        spelled = self.centred_spelling(slots.ids)
        x = self.meaning(meanings * math.sqrt(self.shape.encoder) / 2) + self.context(slots.contexts)
        x = x + self.spelled(spelled) + self.kind(slots.kinds) + self.place(slots.places)
        x = torch.cat([self.latents.expand(tasks, -1, -1), x], 1)
        mask = torch.cat([slots.mask.new_ones(tasks, len(self.latents)), slots.mask], 1)
        for block in self.blocks:
            x = block(x, mask)
        x = self.norm(x)
        latents, state = x[:, : len(self.latents)], x[:, len(self.latents) :]
        keys = self.key_of_meaning(meanings) + self.key_of_state(state)
        values = self.value_of_spelling(spelled) + self.value_of_state(state)
        weight = self.weight_of_kind(slots.kinds) + self.weight_of_place(slots.places)
        weight = torch.sigmoid(weight + self.weight_of_state(state))
        values = values * weight * slots.mask[..., None]
        keys = torch.cat([self.latent_key(latents), keys], 1)
        values = torch.cat([self.latent_value(latents), values], 1)
        memory = values.mT @ keys  # (tasks, values, keys): the sum over slots, before it is cut to each layer's rank
        gates = torch.einsum("tvk,lgvr,lgks->tlgrs", memory, self.to_value, self.to_key)
        meta = latents[:, : len(self.router_in)].transpose(0, 1)  # (layers, tasks, width)
        hidden = nn.functional.silu(torch.baddbmm(self.router_bias[:, None], meta, self.router_in))
        routed = torch.bmm(hidden, self.router_out).transpose(0, 1).unflatten(2, (len(PROJECTIONS), -1))
        return gates * self.strength[..., None, None], 1 + routed
