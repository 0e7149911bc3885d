"""The generator in service: tasks in, gates or keys out. Implements `cloud_service.generation.LoadedGenerator`.

On a CPU, prompts run one by one. That costs no speed, and the bits of a prompt's gates do not depend on other prompts.
On a GPU they run as one padded batch, and gates agree with those of a prompt alone up to rounding. Every replica then
serves the first result that was stored under a cache key. Each closed set is read by itself on both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from cloud_service.answer.choices import Choice
from cloud_service.generation import Asked, Confidence, Generation, GeneratorInfo
from cloud_service.generator.checkpoint import (
    Manifest,
    load_parameters,
    open_bank,
    read_calibration,
    read_manifest,
    verify_model,
)
from cloud_service.generator.confidence_model import Calibration, PromptFeatures, set_features
from cloud_service.generator.edge import edge_linears, edge_shape
from cloud_service.generator.judgements import JUDGEMENTS
from cloud_service.generator.meanings import SentenceEncoder
from cloud_service.generator.model import LoraGenerator
from cloud_service.generator.pretrained import (
    load_cloud_model,
    load_language_model,
    load_model_config,
    load_tokenizer,
    resolve_model,
)
from cloud_service.generator.probe import TorchProbe
from cloud_service.generator.prompt_encoder import encode_prompts, pad_right
from cloud_service.generator.residual_prompt import residual_prompt
from cloud_service.generator.tuner import TorchTuner
from loragen.contract.bank import Bank
from loragen.contract.lora import Linears


@dataclass(frozen=True, slots=True)
class _Output:
    gates: NDArray[np.float32]  # (layers, groups, experts)
    features: NDArray[np.float32] | None  # (features,); None when they were not asked for


class TorchGenerator:
    """A generator with its cloud model in memory.

    Args:
        manifest: The checkpoint's `generator.json`.
        bank: Its experts.
        generator: Its other parameters.
        features: Measures prompts from their states.
        calibration: None when the generator was not calibrated.
        cloud_tokenizer: Tokenizer of the cloud model.
        edge_tokenizer: Tokenizer of the edge model.
        edge_path: Folder of the edge model.
        linears: Widths of its linear layers.
        device: Where the cloud model is.
    """

    def __init__(
        self,
        manifest: Manifest,
        bank: Bank,
        generator: LoraGenerator,
        features: PromptFeatures,
        calibration: Calibration | None,
        cloud_tokenizer: PreTrainedTokenizerBase,
        edge_tokenizer: PreTrainedTokenizerBase,
        edge_path: Path,
        linears: Linears,
        device: torch.device,
    ) -> None:
        config = manifest.config
        self._generator, self._device = generator.to(device).eval(), device
        self._features, self._calibration = features, calibration
        self._cloud_tokenizer, self._edge_tokenizer = cloud_tokenizer, edge_tokenizer
        encoder = generator.prompt_encoder
        self._sentences = SentenceEncoder(encoder.decoder, cloud_tokenizer, encoder.adapter)
        self._edge_path, self._linears = edge_path, linears
        self._bank, self._codes = bank, config.codes
        self._residual_prompt_tokens = config.residual_prompt_tokens
        self._info = GeneratorInfo(
            id=config.id,
            digest=manifest.digest,
            cloud_model_id=manifest.cloud_model.id,
            cloud_model_digest=manifest.cloud_model.digest,
            edge_model_id=manifest.edge_model.id,
            edge_model_digest=manifest.edge_model.digest,
            layers=generator.shape.layers,
            groups=config.groups,
            experts=config.all_experts,
            rank=config.rank,
            alpha=config.alpha,
            mix=config.mix,
            gating=config.gating,
            max_prompt_tokens=config.max_prompt_tokens,
            most_choices=len(config.codes),
        )

    @property
    def info(self) -> GeneratorInfo:
        return self._info

    @property
    def bank(self) -> Bank:
        return self._bank

    @property
    def linears(self) -> Linears:
        return self._linears

    @property
    def most_at_once(self) -> int | None:
        return None if self._device.type == "cuda" else 1

    def count_tokens(self, prompt: str) -> int:
        """Length of a rendered prompt in tokens of the cloud model, its beginning-of-sequence token included."""
        return len(encode_prompts(self._cloud_tokenizer, [prompt])[0])

    def generate(self, asked: Sequence[Asked]) -> list[Generation]:
        """A generation for each task."""
        if not asked:
            return []
        prompts = [each.prompt for each in asked]
        counts = [len(ids) for ids in self._edge_tokenizer(prompts, add_special_tokens=False)["input_ids"]]
        gated = [number for number, each in enumerate(asked) if not (each.choices and self._info.most_choices)]
        outputs: dict[int, _Output] = {}
        if gated:
            run = self._run([prompts[number] for number in gated], with_features=self._calibration is not None)
            outputs = dict(zip(gated, run, strict=True))
        return [
            self._gated(each, outputs[number], count) if number in outputs else self._chosen(each, count)
            for number, (each, count) in enumerate(zip(asked, counts, strict=True))
        ]

    def measure(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Features of at least one rendered prompt, (prompts, features) float32, to fit a calibration on."""
        outputs = self._run(prompts, with_features=True)
        return np.stack([output.features for output in outputs if output.features is not None])

    def measure_sets(self, sets: Sequence[Sequence[Choice]]) -> NDArray[np.float32]:
        """The same of at least one closed set that the choice head answers, (sets, SET_FEATURES) float32."""
        return np.stack([self._measure_set(choices, self._sentences.read([choices]).choices[0]) for choices in sets])

    def load_probe(self) -> TorchProbe:
        """Loads the weights of the edge model onto the device of the cloud model."""
        return TorchProbe(self._load_edge_model(), self._edge_tokenizer)

    def load_tuner(self) -> TorchTuner:
        """The same once more, with a tokenizer of its own, because another thread uses it."""
        return TorchTuner(self._load_edge_model(), load_tokenizer(self._edge_path), self._bank)

    def count_edge_tokens(self, text: str) -> int:
        """Length of a text in tokens of the edge model; changes nothing in the tokenizer, so any thread may call."""
        return len(self._edge_tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)

    def _load_edge_model(self) -> PreTrainedModel:
        dtype = torch.bfloat16 if self._device.type == "cuda" else torch.float32
        return load_language_model(self._edge_path, dtype).to(self._device)

    def _run(self, prompts: Sequence[str], *, with_features: bool) -> list[_Output]:
        encoded = encode_prompts(self._cloud_tokenizer, prompts)
        characters = torch.tensor([len(prompt) for prompt in prompts])
        size = len(prompts) if self._device.type == "cuda" else 1
        outputs: list[_Output] = []
        with torch.inference_mode():
            for start in range(0, len(encoded), size):
                ids, lengths = (each.to(self._device) for each in pad_right(encoded[start : start + size]))
                meta, states = self._generator.prompt_encoder.encode(ids, lengths)
                gates = self._generator.routers(meta).cpu().numpy()
                if with_features:
                    features = self._features(ids, lengths, characters[start : start + size], meta, states)
                    outputs += map(_Output, gates, features.cpu().numpy())
                else:
                    outputs += [_Output(each, None) for each in gates]
        return outputs

    def _gates(
        self, asked: Asked, routed: NDArray[np.float32] | None, *, has_labels: bool = False
    ) -> NDArray[np.float32]:
        """Gates of the whole bank: those of a router or zeros, but for a call or for labels their own experts alone."""
        config = self._generator.config
        gates = np.zeros(self._bank.header.gates_shape, np.float32)
        calls_end = config.experts + config.call_experts
        if asked.answer.kind == "tool_calls" and config.call_experts:
            gates[..., config.experts : calls_end] = 1
        elif has_labels:
            gates[..., calls_end:] = 1
        elif routed is not None:
            gates[..., : config.experts] = routed
        return gates

    def _gated(self, asked: Asked, output: _Output, prompt_tokens: int) -> Generation:
        kept, kept_tokens = residual_prompt(asked.residual_texts, self._edge_tokenizer, self._residual_prompt_tokens)
        confidence = self._judge(output)
        gates = self._gates(asked, output.gates)
        return Generation(gates, prompt_tokens, confidence, asked.answer, None, kept, kept_tokens)

    def _chosen(self, asked: Asked, prompt_tokens: int) -> Generation:
        head = self._generator.choice
        assert head is not None
        read = self._sentences.read([asked.choices])
        with torch.inference_mode():
            meanings = read.to(self._device)
            keys = head(meanings)[0].cpu().numpy()  # (choice layers, choices, rank)
        answer = replace(asked.answer, codes=self._codes[: len(asked.choices)])
        # Label experts need the question in front of each input. Without one the head answers alone, as it was fitted.
        kept, kept_tokens = ("", 0)
        if self._generator.config.label_experts:
            plain = asked.residual_texts[-1:]
            kept, kept_tokens = residual_prompt(plain, self._edge_tokenizer, self._residual_prompt_tokens)
        gates = self._gates(asked, None, has_labels=bool(kept))
        confidence = None
        if self._calibration is not None and self._calibration.closed is not None:
            confidence = self._calibration.closed.judge(self._measure_set(asked.choices, read.choices[0]))
        return Generation(gates, prompt_tokens, confidence, answer, keys, kept, kept_tokens)

    def _measure_set(self, choices: Sequence[Choice], meanings: Tensor) -> NDArray[np.float32]:
        return set_features(choices, meanings, self._judgements)

    @cached_property
    def _judgements(self) -> Tensor:
        return self._sentences.encode(JUDGEMENTS)

    def _judge(self, output: _Output) -> Confidence | None:
        if self._calibration is None or output.features is None:
            return None
        return self._calibration.open.judge(output.features)


def load_generator(
    directory: Path, cloud_model: str | Path, edge_model: str | Path, device: str = "cpu", *, calibrated: bool = True
) -> TorchGenerator:
    """Loads a checkpoint together with the models that it was trained for.

    Example:
        generator = load_generator(pair.generator, pair.cloud_model, pair.edge_model)
        (generation,) = generator.generate([Asked("Sort each mail.")])

    Args:
        directory: The generator's folder.
        cloud_model: Folder or hub id of the cloud model, or `package:` and the name of an installed package.
        edge_model: Folder or hub id of the edge model; its weights are loaded by `TorchGenerator.load_probe` only.
        device: `cpu`, `cuda`, `cuda:1`, ...
        calibrated: Whether it reads the calibration, if there is one. Without, it has no confidence.

    Raises:
        CheckpointError: The checkpoint is altered, or belongs to other models.
        UnsupportedModelError: The edge model's family is not supported.
    """
    disable_progress_bar()  # it would stand between the lines of the log
    manifest = read_manifest(directory)
    cloud_path, edge_path = resolve_model(cloud_model), resolve_model(edge_model)
    verify_model("cloud", manifest.cloud_model, cloud_path)
    verify_model("edge", manifest.edge_model, edge_path)
    edge_config = load_model_config(edge_path)
    shape = edge_shape(edge_config)
    bank = open_bank(directory, manifest, shape)
    target = torch.device(device)
    cloud = load_cloud_model(cloud_path, torch.bfloat16 if target.type == "cuda" else torch.float32)
    with torch.device("meta"):  # the experts and the head are served from the bank's file; torch never holds them here
        generator = LoraGenerator(manifest.config, cloud, shape)
    for experts in generator.banks:
        del experts.a, experts.b
    if generator.choice is not None:
        del generator.choice.a, generator.choice.b
    generator.to_empty(device="cpu")
    load_parameters(directory, generator)
    if generator.prompt_encoder.adapter is not None:
        generator.prompt_encoder.adapter.to(cloud.dtype)  # once, and not for every prompt
    features = PromptFeatures.count(generator.prompt_encoder.meta.shape[1])
    calibration = read_calibration(directory, manifest, features) if calibrated else None
    cloud.to(target)
    return TorchGenerator(
        manifest,
        bank,
        generator,
        PromptFeatures(cloud),
        calibration,
        load_tokenizer(cloud_path),
        load_tokenizer(edge_path),
        edge_path,
        edge_linears(edge_config),
        target,
    )
