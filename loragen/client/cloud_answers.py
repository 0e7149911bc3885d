"""Values: what clients make of answers of the cloud service; the answers themselves are in `loragen.cloud_answers`."""

from collections.abc import Mapping
from dataclasses import dataclass

from loragen.contract.channel import Specialization


@dataclass(frozen=True, slots=True)
class GeneratedBundle:
    """A bundle that came with the answer, verified.

    Attributes:
        id: The sha256 of `data`.
        data: A safetensors file that PEFT loads.
    """

    id: str
    recipe_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class ChannelSnapshot:
    """A channel as it was when it was asked for.

    Attributes:
        version: Grows with every change.
        specializations: By name.
        etag: Says in a later call which channel is meant.
    """

    name: str
    version: int
    specializations: Mapping[str, Specialization]
    etag: str
