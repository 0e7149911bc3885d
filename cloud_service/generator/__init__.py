"""The LoRA-Gen generator in torch: prompt encoder, routers, expert bank."""

from cloud_service.generator.config import GeneratorConfig
from cloud_service.generator.errors import CheckpointError, GeneratorError, UnsupportedModelError
from cloud_service.generator.inference import TorchGenerator, load_generator
from cloud_service.generator.model import LoraGenerator

__all__ = [
    "CheckpointError",
    "GeneratorConfig",
    "GeneratorError",
    "LoraGenerator",
    "TorchGenerator",
    "UnsupportedModelError",
    "load_generator",
]
