"""Helper: a small random Llama with a small random encoder, and a run of the memory over made-up tasks."""

import random
from pathlib import Path

from cloud_service.task import TaskDescription, Tool
from tests.cloud_service.generator.tiny import encoder_tokenizer, random_model, tokenizer
from training.data.corpus import Split
from training.data.episodes import Episode, Instance
from training.memory.fit import MemoryRun, Models
from training.memory.generator import GeneratorShape
from training.memory.settings import MemorySettings
from training.memory.slots import PieceEncoder
from training.memory.warm import Activations

SETTINGS = MemorySettings(
    first=1, tasks=3, warmup=1, longest_row=400, batch_tokens=300, rate=5e-3, bank_rate=5e-3, plain_share=0.5, warm=0.0
)
SHAPE = GeneratorShape(1, 2, 32, 48, 32, rank=4, width=16, heads=2, depth=1, latents=2, skills=3, keys=8, values=8)


class Routing:
    """Sets of two tools, and one request for each."""

    name = "routing"

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        tools = tuple(Tool(f"{verb}_{rng.randrange(9)}", f"{verb} a thing", ("city",)) for verb in ("send", "find"))
        instances = tuple(Instance(f"please {tool.name} it", tool.name) for tool in tools)
        return Episode("routing/two", TaskDescription("Route.", (), tools), instances, tuple(t.name for t in tools))


def small_models() -> Models:
    words = tokenizer("please find it", bos_token="<s>")
    pieces = PieceEncoder(random_model("bert", seed=3), encoder_tokenizer(), words)
    return Models(random_model("llama", seed=1), words, pieces)


def small_run(out: Path, activations: Activations | None = None, settings: MemorySettings = SETTINGS) -> MemoryRun:
    return MemoryRun(settings, small_models(), Routing(), out, activations, SHAPE)
