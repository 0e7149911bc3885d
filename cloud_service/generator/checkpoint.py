"""A generator on disk: a folder with `generator.json`, `router.safetensors` and `bank.safetensors`.

`generator.json` holds the settings, and the digests of both models and of all other files. Its own sha256 is the
generator's digest. The bank is a file of the contract, which devices download as it is. A calibrated generator has
`confidence.safetensors` too (`cloud_service.generator.confidence_model`). The bank holds A and B of a choice head; the
router file holds the maps that make its keys.
"""

import hashlib
import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from cloud_service.generator.choice_head import ChoiceHeadConfig
from cloud_service.generator.confidence_model import Calibration, load_calibration, store_calibration
from cloud_service.generator.config import GeneratorConfig
from cloud_service.generator.errors import CheckpointError
from cloud_service.generator.model import LoraGenerator
from loragen.contract.atomic import write_atomic
from loragen.contract.bank import Bank, BankHeader, write_bank
from loragen.contract.choice_head import ChoiceHeadLayout
from loragen.contract.digest import file_sha256, model_digest
from loragen.contract.errors import ContractError
from loragen.contract.lora import EdgeShape
from loragen.contract.names import PROJECTIONS, bank_name

CHECKPOINT_FORMAT = 1
BANK_FILE = "bank.safetensors"
ROUTER_FILE = "router.safetensors"
MANIFEST_FILE = "generator.json"
CONFIDENCE_FILE = "confidence.safetensors"


@dataclass(frozen=True, slots=True)
class ModelReference:
    """Which model a generator was trained for.

    Attributes:
        id: Name, for people.
        digest: Its `loragen.contract.digest.model_digest`.
        source: The reference of a GGUF file in a package or on the hub; empty where the id is itself a reference.
    """

    id: str
    digest: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `generator.json` says."""

    config: GeneratorConfig
    cloud_model: ModelReference
    edge_model: ModelReference
    files: dict[str, str]
    digest: str


def bank_header(config: GeneratorConfig, edge_model: ModelReference, shape: EdgeShape) -> BankHeader:
    """The header of a generator's bank.

    Raises:
        ContractError: A name or number that the contract does not allow.
    """
    choice = config.choice
    return BankHeader(
        generator_id=config.id,
        edge_model_id=edge_model.id,
        edge_model_digest=edge_model.digest,
        shape=shape,
        groups=config.groups,
        experts=config.all_experts,
        rank=config.rank,
        alpha=config.alpha,
        mix=config.mix,
        first_layer=config.first_layer,
        choice=None if choice is None else ChoiceHeadLayout(choice.first_layer, choice.rank, config.codes),
    )


def store_generator(
    directory: Path, generator: LoraGenerator, cloud_model: ModelReference, edge_model: ModelReference
) -> Manifest:
    """Writes a checkpoint; `generator.json` comes last, so an interrupted write leaves no valid checkpoint."""
    directory.mkdir(parents=True, exist_ok=True)
    config = generator.config
    state = stored_state(generator)
    # Not save_file, whose file only its owner could read: a service in a container is another user.
    stored = save({name: value.float().cpu().contiguous() for name, value in state.items()})
    write_atomic(directory / ROUTER_FILE, stored)
    write_bank(directory / BANK_FILE, bank_header(config, edge_model, generator.shape), _bank_tensors(generator))
    _write_manifest(directory, config, cloud_model, edge_model, (BANK_FILE, ROUTER_FILE))
    return read_manifest(directory)


def add_calibration(directory: Path, calibration: Calibration) -> Manifest:
    """Adds a calibration to a checkpoint, or replaces it; the generator's digest changes, its gates do not.

    If this is interrupted, the checkpoint stays valid: unchanged, without a calibration, or with the new one.

    Raises:
        CheckpointError: There is no valid checkpoint.
    """
    manifest = read_manifest(directory)
    origin = (manifest.config, manifest.cloud_model, manifest.edge_model)
    if CONFIDENCE_FILE in manifest.files:
        _write_manifest(directory, *origin, (BANK_FILE, ROUTER_FILE))
    store_calibration(directory / CONFIDENCE_FILE, calibration)
    _write_manifest(directory, *origin, (BANK_FILE, ROUTER_FILE, CONFIDENCE_FILE))
    return read_manifest(directory)


def read_calibration(directory: Path, manifest: Manifest, features: int) -> Calibration | None:
    """The calibration of a checkpoint; None when it has none.

    Raises:
        CheckpointError: The file is no calibration, or one for another number of features.
    """
    if CONFIDENCE_FILE not in manifest.files:
        return None
    return load_calibration(directory / CONFIDENCE_FILE, features, closed=manifest.config.choice is not None)


def read_manifest(directory: Path) -> Manifest:
    """Reads `generator.json` and checks the files that it lists.

    Raises:
        CheckpointError: A file is missing or altered, or the manifest is malformed.
    """
    try:
        content = (directory / MANIFEST_FILE).read_bytes()
        document = json.loads(content)
        if document["format"] != CHECKPOINT_FORMAT:
            raise CheckpointError(f"{directory} has format {document['format']!r}, expected {CHECKPOINT_FORMAT}")
        manifest = Manifest(
            _parse_config(document["config"]),
            ModelReference(**document["cloud_model"]),
            ModelReference(**document["edge_model"]),
            {name: str(document["files"][name]) for name in _listed(document["files"])},
            hashlib.sha256(content).hexdigest(),
        )
    except OSError as e:
        raise CheckpointError(f"{directory} holds no {MANIFEST_FILE} that can be read: {e}") from e
    except (ValueError, KeyError, TypeError) as e:
        raise CheckpointError(f"{directory / MANIFEST_FILE} is malformed: {type(e).__name__}: {e}") from e
    for name, expected in manifest.files.items():
        if not (directory / name).exists():
            raise CheckpointError(f"{directory} lacks {name}")
        if (actual := file_sha256(directory / name)) != expected:
            raise CheckpointError(f"{directory / name} has sha256 {actual}, expected {expected}")
    return manifest


def verify_model(role: str, reference: ModelReference, path: Path) -> None:
    """Checks that a model is the one that the generator was trained for.

    Raises:
        CheckpointError: The folder holds another model, or none.
    """
    try:
        digest = model_digest(path)
    except (ContractError, OSError) as e:
        raise CheckpointError(f"{role} model: {e}", hint=f"name the folder or hub id of {reference.id}") from e
    if reference.digest != digest:
        raise CheckpointError(
            f"{role} model has digest {digest}, but the generator was trained for {reference.id} "
            f"with {reference.digest}",
            hint=f"load the {role} model {reference.id}, or train a generator for this pair",
        )


def open_bank(directory: Path, manifest: Manifest, shape: EdgeShape) -> Bank:
    """Opens the bank of a checkpoint.

    Raises:
        CheckpointError: The file is no bank, or does not fit the manifest and the edge model's shape.
    """
    path = directory / BANK_FILE
    try:
        bank = Bank.open(path, expected_digest=manifest.files[BANK_FILE])
        expected = bank_header(manifest.config, manifest.edge_model, shape)
    except (ContractError, OSError) as e:
        raise CheckpointError(f"{path}: {e}") from e
    if bank.header != expected:
        raise CheckpointError(f"{path} has {bank.header}, expected {expected}")
    return bank


def load_parameters(directory: Path, generator: LoraGenerator) -> None:
    """Loads everything except the experts and the choice head's A and B, which inference does not need in torch.

    Raises:
        CheckpointError: The file holds the tensors of another generator.
    """
    path = directory / ROUTER_FILE
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as e:
        raise CheckpointError(f"{path} cannot be read: {e}") from e
    expected = stored_state(generator).keys()
    if state.keys() != expected:
        raise CheckpointError(f"{path} holds other tensors than expected: {sorted(state.keys() ^ expected)[:3]}")
    try:
        generator.load_state_dict(state, strict=False)
    except RuntimeError as e:
        raise CheckpointError(f"{path} does not fit these models: {e}") from e


def stored_state(generator: LoraGenerator) -> dict[str, Tensor]:
    """What `router.safetensors` holds: everything except what the bank does, and batch norm's counter of batches."""
    return {
        name: value
        for name, value in generator.state_dict().items()
        if not name.startswith(("bank.", "calls.", "labels."))
        and name not in ("choice.a", "choice.b")
        and value.is_floating_point()
    }


def _write_manifest(
    directory: Path,
    config: GeneratorConfig,
    cloud_model: ModelReference,
    edge_model: ModelReference,
    files: Sequence[str],
) -> None:
    document = {
        "format": CHECKPOINT_FORMAT,
        "config": asdict(config),
        "cloud_model": asdict(cloud_model),
        "edge_model": asdict(edge_model),
        "files": {name: file_sha256(directory / name) for name in files},
    }
    write_atomic(directory / MANIFEST_FILE, (json.dumps(document, indent=2, sort_keys=True) + "\n").encode())


def _parse_config(fields: Mapping[str, Any]) -> GeneratorConfig:
    fields = dict(fields)
    choice = fields.get("choice")
    return GeneratorConfig(
        **{
            **fields,
            "choice": None if choice is None else ChoiceHeadConfig(**choice),
            "codes": tuple(fields.get("codes", ())),
        }
    )


def _listed(files: Container[str]) -> tuple[str, ...]:
    return (BANK_FILE, ROUTER_FILE, *((CONFIDENCE_FILE,) if CONFIDENCE_FILE in files else ()))


def _bank_tensors(generator: LoraGenerator) -> dict[str, Any]:
    tensors: dict[str, np.ndarray[Any, np.dtype[np.float16]]] = {}
    for projection in PROJECTIONS:
        for side, stacked in (
            ("A", torch.cat([bank.a[projection] for bank in generator.banks], dim=1)),  # (layers, experts, rank, in)
            ("B", torch.cat([bank.b[projection] for bank in generator.banks], dim=1)),
        ):
            adapted = stacked.detach().to(torch.float16).cpu().numpy()
            for layer, experts in enumerate(adapted, generator.config.first_layer):
                tensors[bank_name(layer, projection, side)] = experts
    if generator.choice is not None and generator.config.choice is not None:
        for side, stacked in (("A", generator.choice.a), ("B", generator.choice.b)):
            written = stacked.detach().to(torch.float16).cpu().numpy()
            for layer, factor in enumerate(written, generator.config.choice.first_layer):
                tensors[bank_name(layer, "choice", side)] = factor
    return tensors
