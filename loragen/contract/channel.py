"""The channel document: the list of specializations that a group of devices follows, as canonical JSON.

Rules: specializations are sorted by name, no name occurs twice, and one content has one byte string.
The services decide who may change a channel and what a device does with a new version.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, get_type_hints

from loragen.contract.digest import canonical_json
from loragen.contract.errors import FormatError, LimitError, VersionError
from loragen.contract.fields import verify_count
from loragen.contract.limits import (
    MAX_BUNDLE_BYTES,
    MAX_CHANNEL_BYTES,
    MAX_CHANNEL_VERSION,
    MAX_RECIPE_BYTES,
    MAX_SPECIALIZATIONS,
)
from loragen.contract.names import verify_digest, verify_model_id, verify_name

CHANNEL_FORMAT = 1

_T = TypeVar("_T")

_KIND = "channel"


@dataclass(frozen=True, slots=True)
class RecipeReference:
    """A recipe, and what a device needs to build a bundle from it.

    Attributes:
        id: sha256 of the recipe.
        bytes: Its size.
        generator_id: Name of the generator that made it.
        generator_digest: Digest of that generator.
        bank_digest: sha256 of that generator's bank.

    Raises:
        ContractError: A malformed name or digest, or a size out of its range.
    """

    id: str
    bytes: int
    generator_id: str
    generator_digest: str
    bank_digest: str

    def __post_init__(self) -> None:
        verify_digest(self.id)
        verify_count(self.bytes, "recipe: bytes", 1, MAX_RECIPE_BYTES)
        verify_name(self.generator_id)
        verify_digest(self.generator_digest)
        verify_digest(self.bank_digest)


@dataclass(frozen=True, slots=True)
class Specialization:
    """A named bundle, and the recipe that rebuilds it.

    Attributes:
        name: The name under which a device serves it.
        bundle_id: sha256 of the bundle.
        bundle_bytes: Its size.
        edge_model_id: The edge model that it is for.
        edge_model_digest: Its digest.
        recipe: None for a bundle that a user imported, which no bank can rebuild.

    Raises:
        ContractError: A malformed name or digest, or a size out of its range.
    """

    name: str
    bundle_id: str
    bundle_bytes: int
    edge_model_id: str
    edge_model_digest: str
    recipe: RecipeReference | None

    def __post_init__(self) -> None:
        verify_name(self.name)
        verify_digest(self.bundle_id)
        verify_count(self.bundle_bytes, "bundle_bytes", 1, MAX_BUNDLE_BYTES)
        verify_model_id(self.edge_model_id)
        verify_digest(self.edge_model_digest)


@dataclass(frozen=True, slots=True)
class Channel:
    """The list that devices follow.

    Attributes:
        name: Name of the channel.
        version: Grows with every change; 0 is a channel that was never written.
        specializations: Sorted by name, each name once.

    Raises:
        ContractError: A malformed name, a version out of its range, too many specializations, or not in order.
    """

    name: str
    version: int
    specializations: tuple[Specialization, ...]

    def __post_init__(self) -> None:
        verify_name(self.name)
        verify_count(self.version, "version", 0, MAX_CHANNEL_VERSION)
        if len(self.specializations) > MAX_SPECIALIZATIONS:
            raise LimitError(
                f"channel: expected at most {MAX_SPECIALIZATIONS} specializations, found {len(self.specializations)}"
            )
        names = [specialization.name for specialization in self.specializations]
        if names != sorted(set(names)):
            raise FormatError("channel: expected specializations sorted by name, each name once")


def encode_channel(channel: Channel) -> bytes:
    """The document as canonical JSON; equal channels give equal bytes."""
    return canonical_json(
        {
            "format": _KIND,
            "format_version": CHANNEL_FORMAT,
            "name": channel.name,
            "version": channel.version,
            "specializations": [asdict(specialization) for specialization in channel.specializations],
        }
    )


def parse_channel(data: bytes | memoryview) -> Channel:
    """Parse a channel document; `encode_channel` of the result gives `data` again.

    Raises:
        ContractError: Any bytes that `encode_channel` could not have made.
    """
    if len(data) > MAX_CHANNEL_BYTES:
        raise LimitError(f"channel: expected at most {MAX_CHANNEL_BYTES} bytes, found {len(data)}")
    try:
        document = json.loads(bytes(data).decode("ascii"))
    except (ValueError, RecursionError) as e:
        raise FormatError("channel: expected JSON in ASCII") from e
    if not isinstance(document, dict) or document.get("format") != _KIND:
        raise FormatError(f"channel: expected a JSON object with format = {_KIND!r}")
    if document.get("format_version") != CHANNEL_FORMAT:
        raise VersionError(
            f"channel: expected format version {CHANNEL_FORMAT}, found {ascii(document.get('format_version'))[:40]}",
            hint="update this side, or ask the other for a version that this side reads",
        )
    entries = document.get("specializations")
    if not isinstance(entries, list):
        raise FormatError("channel: expected a list of specializations")
    if len(entries) > MAX_SPECIALIZATIONS:
        raise LimitError(f"channel: expected at most {MAX_SPECIALIZATIONS} specializations, found {len(entries)}")
    channel = Channel(
        name=_typed(document, "name", str),
        version=_typed(document, "version", int),
        specializations=tuple(_parse_specialization(entry) for entry in entries),
    )
    if encode_channel(channel) != data:
        raise FormatError("channel: the document is not in canonical form", hint="see docs/bundle-format.md")
    return channel


def _parse_specialization(entry: object) -> Specialization:
    if not isinstance(entry, dict):
        raise FormatError("channel: expected a JSON object for each specialization")
    recipe = entry.get("recipe")
    if recipe is not None and not isinstance(recipe, dict):
        raise FormatError(f"channel: recipe: expected a JSON object or null, found {type(recipe).__name__}")
    fields = _fields(entry, Specialization, "recipe")
    source = None if recipe is None else RecipeReference(**_fields(recipe, RecipeReference))
    return Specialization(**fields, recipe=source)


def _fields(entry: dict[str, Any], of: type, *without: str) -> dict[str, Any]:
    """The fields of a dataclass whose values are texts and numbers."""
    types = {name: expected for name, expected in get_type_hints(of).items() if name not in without}
    return {name: _typed(entry, name, expected) for name, expected in types.items()}


def _typed(entry: dict[str, Any], name: str, expected: type[_T]) -> _T:
    value = entry.get(name)
    if not isinstance(value, expected):
        raise FormatError(f"channel: {name}: expected {expected.__name__}, found {type(value).__name__}")
    return value
