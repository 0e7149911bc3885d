"""Property: parsing any bytes raises only ContractError, and what is accepted has exactly one form."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragen.contract.bank import Bank, write_bank
from loragen.contract.bundle import encode_bundle, parse_bundle
from loragen.contract.channel import encode_channel, parse_channel
from loragen.contract.errors import ContractError
from loragen.contract.recipe import encode_recipe, parse_recipe
from tests.loragen.contract.files import framed

GOLDEN = Path(__file__).parent / "golden"
SEEDS = {path.name: path.read_bytes() for path in sorted(GOLDEN.iterdir()) if path.suffix in {".safetensors", ".json"}}

# No deadline: another process may have the cores.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def round_trip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bytes], bytes | None]:
    """Parses bytes as the kind that a golden file's name says and encodes the result; None when they are refused.

    Any error but ContractError goes through.
    """
    folder = tmp_path_factory.mktemp("banks")

    def bank(data: bytes) -> bytes:
        (folder / "in").write_bytes(data)
        opened = Bank.open(folder / "in")
        opened.verify_finite()
        tensors = {name: opened.tensor(name) for name in opened.header.tensor_specs()}
        write_bank(folder / "out", opened.header, tensors)
        return (folder / "out").read_bytes()

    parsers: dict[str, Callable[[bytes], bytes]] = {
        "bundle": lambda data: encode_bundle(parse_bundle(data)),
        "recipe": lambda data: encode_recipe(parse_recipe(data)),
        "bank": bank,
        "channel": lambda data: encode_channel(parse_channel(data)),
    }

    def run(name: str, data: bytes) -> bytes | None:
        try:
            return parsers[name.split("-")[0]](data)
        except ContractError:
            return None

    return run


@given(data=st.binary(max_size=300), name=st.sampled_from(sorted(SEEDS)))
@unhurried
def test_any_bytes_are_refused(round_trip: Callable[[str, bytes], bytes | None], data: bytes, name: str) -> None:
    assert round_trip(name, data) is None


@given(header=st.binary(max_size=300), data=st.binary(max_size=16), name=st.sampled_from(sorted(SEEDS)))
@unhurried
def test_any_header_bytes_are_refused(
    round_trip: Callable[[str, bytes], bytes | None], header: bytes, data: bytes, name: str
) -> None:
    assert round_trip(name, framed(header, data)) is None


@given(value=JSON, name=st.sampled_from(sorted(SEEDS)))
@unhurried
def test_any_json_is_refused(round_trip: Callable[[str, bytes], bytes | None], value: object, name: str) -> None:
    text = json.dumps(value).encode()
    assert round_trip(name, text) is None
    assert round_trip(name, framed(text, b"")) is None


@given(data=st.data(), name=st.sampled_from(sorted(name for name in SEEDS if name.endswith(".safetensors"))))
@unhurried
def test_any_json_at_any_place_of_a_header_is_refused_or_kept(
    round_trip: Callable[[str, bytes], bytes | None], data: st.DataObject, name: str
) -> None:
    """One value of a good header becomes any JSON value; the header stays canonical."""
    seed = SEEDS[name]
    end = 8 + int.from_bytes(seed[:8], "little")
    header = json.loads(seed[8:end])
    place = header[data.draw(st.sampled_from(sorted(header)))]
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    changed = framed(json.dumps(header, sort_keys=True, separators=(",", ":")).encode(), seed[end:])
    assert round_trip(name, changed) in {None, changed}


@given(data=st.data(), name=st.sampled_from(sorted(SEEDS)))
@settings(unhurried, max_examples=300)
def test_damaged_file_is_refused_or_keeps_its_form(
    round_trip: Callable[[str, bytes], bytes | None], data: st.DataObject, name: str
) -> None:
    """Overwritten, cut out or inserted bytes: nothing but ContractError, and never a second form of one content."""
    seed = SEEDS[name]
    start = data.draw(st.integers(0, len(seed)))
    cut = data.draw(st.integers(0, 12))
    changed = seed[:start] + data.draw(st.binary(max_size=12)) + seed[start + cut :]
    assert round_trip(name, changed) in {None, changed}


@pytest.mark.parametrize("name", sorted(SEEDS))
def test_truncated_file_is_refused_at_every_length(round_trip: Callable[[str, bytes], bytes | None], name: str) -> None:
    seed = SEEDS[name]
    lengths = range(0, len(seed), 7 if name.startswith("bank") else 1)
    assert {round_trip(name, seed[:length]) for length in lengths} == {None}


@pytest.mark.parametrize("name", ["recipe-1-choice.safetensors", "channel-1.json"])
def test_every_flipped_bit_is_refused_or_keeps_its_form(
    round_trip: Callable[[str, bytes], bytes | None], name: str
) -> None:
    """Each bit of the file in turn."""
    seed = SEEDS[name]
    refused = 0
    for bit in range(8 * len(seed)):
        flipped = bytearray(seed)
        flipped[bit // 8] ^= 1 << bit % 8
        result = round_trip(name, bytes(flipped))
        assert result in {None, bytes(flipped)}
        refused += result is None
    assert refused > 4 * len(seed)


@given(
    position=st.integers(0, 10_000),
    name=st.sampled_from(sorted(name for name in SEEDS if name.startswith("bundle"))),
)
@unhurried
def test_parsed_bundle_is_a_view_that_cannot_be_written(position: int, name: str) -> None:
    """What was verified stays what it was, even when the caller's buffer is writable."""
    lora = parse_bundle(memoryview(bytearray(SEEDS[name]))).lora
    arrays = [array for pair in lora.factors.values() for array in pair]
    array = arrays[position % len(arrays)]
    assert not array.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        array[...] = np.float16(1)
