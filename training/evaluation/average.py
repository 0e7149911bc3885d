"""The control *average*: the LoRA of the mean gates over training descriptions.

A generator that does not read its prompt would give this LoRA. Closed sets have keys in place of gates, and the mean of
keys over random sets has no meaning. So a task with a closed set is asked as the base model is: with the set's texts
named. (Equal keys for all choices would give the same code every time. That is chance, and so an easier control.)
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloud_service.store import StoredRecipe, StoreLimits
from cloud_service.store.backends import open_store
from loragen.client import CloudClient
from loragen.cloud_answers import Generated
from loragen.contract.assembly import build_bundle
from loragen.contract.bank import Bank
from loragen.contract.bundle import content_id
from loragen.contract.recipe import Recipe, encode_recipe

_LIMITS = StoreLimits(
    bundle_budget_bytes=2**32,
    import_budget_bytes=0,
    recipe_ttl_seconds=86_400,
    device_ttl_seconds=86_400,
    devices_per_channel=1,
    versions_per_channel=1,
    events_per_channel=1,
    timeout_seconds=30,
)


def mean_gates(answers: Sequence[Generated]) -> NDArray[np.float32]:
    """Mean of the gates of these generations, over those that have gates.

    Raises:
        ValueError: All of them have keys.
    """
    gates = [np.array(answer.gates, np.float32) for answer in answers if answer.gates and not answer.answer.codes]
    if not gates:
        raise ValueError("no training description is answered by gates: there is no average of them")
    mean: NDArray[np.float32] = np.stack(gates).mean(0)
    return mean


def store_average(cloud: CloudClient, state: Path, gates: NDArray[np.float32]) -> str:
    """Puts the LoRA of these gates into the store of a local stack.

    Args:
        cloud: The stack's cloud service.
        state: The stack's folder.
        gates: (adapted layers, groups, experts).

    Returns:
        The bundle's id.
    """
    generator = cloud.generators()[0]
    path = state / "bank.safetensors"
    cloud.download_bank(generator.id, path)
    bank = Bank.open(path)
    recipe = Recipe(
        generator_id=generator.id,
        generator_digest=generator.digest,
        bank_digest=bank.digest,
        edge_model_id=generator.edge_model.id,
        edge_model_digest=generator.edge_model.digest,
        prompt_tokens=0,
        gates=gates,
    )
    recipe_bytes, bundle = encode_recipe(recipe), build_bundle(bank, recipe)
    stored_recipe, bundle_id = StoredRecipe(content_id(recipe_bytes), recipe_bytes, len(bundle)), content_id(bundle)

    async def store() -> None:
        stored = open_store(f"sqlite:///{state / 'cloud.sqlite'}", _LIMITS)
        try:
            await stored.store_generation("average", stored_recipe)
            await stored.name_bundle(stored_recipe.recipe_id, bundle_id)
            await stored.store_bundle(bundle_id, bundle)
        finally:
            await stored.aclose()

    asyncio.run(store())
    return bundle_id
