"""Trains a pair's generator, and its cloud model where the training config says so: `python -m training train CONFIG`.

One code path on a CPU, one GPU, or several under torchrun. A second call resumes from the checkpoints under `runs`. A
base GGUF for devices is made from the result by `loragen-edge convert`, since training does not know the device.
"""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from cloud_service.generator import LoraGenerator
from cloud_service.generator.checkpoint import store_generator
from cloud_service.generator.choice_head import ChoiceHead
from cloud_service.generator.edge import edge_shape
from cloud_service.generator.last_layer import LastLayer
from cloud_service.generator.meanings import SentenceEncoder
from training.data.families import Sources, load_mixture
from training.data.families.function_calls import FunctionCalls
from training.fit.call_experts import CallDraws, CallStep
from training.fit.choice_head import code_tokens, fit_choice_head, known_meanings
from training.fit.config import TrainingConfig
from training.fit.edge_answers import EdgeAnswers
from training.fit.generator import EpisodeBatches, train_generator
from training.fit.label_experts import LabelStep
from training.fit.pair import load_pair, store_trained_model
from training.fit.processes import Processes
from training.fit.start import load_start
from training.fit.ungated_experts import train_ungated_experts


def train_pair(config: TrainingConfig, data: Path, out: Path, runs: Path, start: Path | None = None) -> None:
    """Trains whatever is not yet finished under `runs`, and writes what was trained to `out`.

    Under `out` come `generator/`, and `cloud/` where the cloud model was trained.

    Args:
        config: What is trained, and how.
        data: Folder of packed public data.
        out: Where the result goes.
        runs: Where checkpoints are.
        start: Folder with the generator.json of a generator whose weights the run goes on from; None for fresh ones.
            Its choice head stays, since its experts were trained under it.

    Raises:
        StartError: The generator in `start` has another shape, or was trained for other models.
    """
    processes = Processes()
    sources = Sources(data)
    stages = {"generator": config.fit} | {f"refined-{n}": stage for n, stage in enumerate(config.refine, 1)}
    # Read before any model is loaded, so that a missing file stops the run at once.
    mixtures = [load_mixture(sources, settings.tools, settings.families) for settings in stages.values()]
    pair = load_pair(config, processes)
    torch.manual_seed(config.fit.seed)  # the same first weights in every process
    shape_of_generator = config.generator
    if shape_of_generator.choice is not None:
        shape_of_generator = replace(shape_of_generator, codes=code_tokens(pair.edge_tokenizer, config.choice.codes))
    generator = LoraGenerator(shape_of_generator, pair.cloud, edge_shape(pair.edge.config))
    if start is not None:
        load_start(start, generator, pair.cloud_reference, pair.edge_reference)
    generator.to(processes.device)
    if config.fit.train_cloud:
        pair.cloud.to(processes.device)
    else:
        processes.shard(pair.cloud)
    edge = EdgeAnswers(
        pair.edge.to(processes.device),
        pair.edge_tokenizer,
        config.fit.longest_turn,
        dtype=config.fit.dtype_on(processes.device),
    )
    origin = f"{pair.edge_reference.digest} {pair.cloud_reference.digest if pair.cloud_reference else 'trained'}"
    for (folder, settings), mixture in zip(stages.items(), mixtures, strict=True):
        batches = EpisodeBatches(mixture, pair.cloud_tokenizer, settings)
        train_generator(
            generator, pair.cloud, edge, batches, settings, runs / folder, processes=processes, origin=origin
        )
    layer = LastLayer(pair.edge, pair.edge_tokenizer, config.choice.longest_input)
    sentences = SentenceEncoder(
        generator.prompt_encoder.decoder, pair.cloud_tokenizer, generator.prompt_encoder.adapter
    )

    def fit_head(head: ChoiceHead, inactive: Tensor | None) -> None:
        with processes.main_first():  # the others find on disk what the first has read
            meanings, states = known_meanings(sources, config.choice), runs / "choice.safetensors"
            fit_choice_head(head, generator.config.codes, layer, sentences, meanings, config.choice, states, inactive)

    if generator.choice is not None and start is None:
        fit_head(generator.choice, None)
    if generator.calls is not None:
        called, made, apps = (
            FunctionCalls(functions, sources.bystanders)
            for functions in (sources.seen_functions, sources.made_functions, sources.app_functions)
        )
        draws = CallDraws(called, made, apps, config.calls)
        step = CallStep(generator.calls, edge, layer, draws, config.calls, processes, generator.choice, sentences)
        train_ungated_experts(generator.calls, step, config.calls, runs / "calls", processes, origin)
        if generator.choice is not None and start is None:  # again, to leave alone what it now reads in arguments
            fit_head(generator.choice, step.read_arguments(config.calls.argument_draws))
    if generator.choice is not None and generator.labels is not None:
        mixture = load_mixture(sources, weights=config.labels.families)
        judge = LabelStep(
            generator.labels,
            generator.choice,
            edge,
            layer,
            sentences,
            mixture,
            config.labels,
            config.generator.residual_prompt_tokens,
            processes,
        )
        train_ungated_experts(generator.labels, judge, config.labels, runs / "labels", processes, origin)
    cloud_reference = pair.cloud_reference or store_trained_model(
        pair.cloud, pair.cloud_tokenizer, out / "cloud", f"{config.generator.id}-cloud", processes
    )
    if processes.is_main:
        store_generator(out / "generator", generator, cloud_reference, pair.edge_reference)
    processes.wait()
