"""Banks: written whole, mapped, read-only."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from loragen.contract.bank import Bank, write_bank
from loragen.contract.choice_head import ChoiceHeadLayout
from loragen.contract.errors import ContractError, FormatError, MismatchError, NonFiniteError
from loragen.contract.lora import EdgeShape

SHAPE = EdgeShape(layers=1, hidden=4, intermediate=6)


def test_bank_that_is_absent_or_empty_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Bank.open(tmp_path / "bank")
    (tmp_path / "bank").touch()
    with pytest.raises(FormatError, match="0 bytes"):
        Bank.open(tmp_path / "bank")


def test_bank_outlives_its_file_name_and_is_read_only(make_bank: Callable[..., Bank], tmp_path: Path) -> None:
    """A bank that was replaced on disk stays what it was for whoever has it open."""
    bank = make_bank(SHAPE)
    (tmp_path / "bank").write_bytes(bank.data)
    opened = Bank.open(tmp_path / "bank", expected_digest=bank.digest)
    (tmp_path / "bank").unlink()
    for mine, theirs in zip(opened.factors(0, "up"), bank.factors(0, "up"), strict=True):
        np.testing.assert_array_equal(mine, theirs)
        with pytest.raises(ValueError, match="read-only"):
            mine[...] = 0
    assert opened.data.readonly


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: {name: tensor for name, tensor in tensors.items() if name != "layers.0.up.A"},
        lambda tensors: tensors | {"layers.0.up.C": tensors["layers.0.up.A"]},
        lambda tensors: tensors | {"layers.0.up.A": tensors["layers.0.up.A"].astype(np.float32)},
        lambda tensors: tensors | {"layers.0.up.A": tensors["layers.0.up.A"].swapaxes(1, 2)},
    ],
    ids=["missing", "unknown", "float32", "transposed"],
)
def test_bank_of_wrong_tensors_is_not_written(make_bank: Callable[..., Bank], tmp_path: Path, change: Callable) -> None:
    header = make_bank(SHAPE).header
    tensors = {name: np.ones(spec.shape, np.float16) for name, spec in header.tensor_specs().items()}
    with pytest.raises(FormatError):
        write_bank(tmp_path / "bank", header, change(tensors))
    assert list(tmp_path.iterdir()) == []


def test_bank_has_tensors_of_adapted_layers_and_of_the_choice_head(make_bank: Callable[..., Bank]) -> None:
    """The two begin where they like; experts and gates are counted from the first adapted layer."""
    shape = EdgeShape(layers=4, hidden=4, intermediate=6)
    bank = make_bank(shape, groups=3, first_layer=3, choice=ChoiceHeadLayout(2, 5, (9, 8)))
    header = bank.header
    assert (header.gates_shape, list(header.choice_layers)) == ((1, 3, 3), [2, 3])
    assert list(header.blocks()) == [(3, "gate"), (3, "up"), (3, "down")]
    assert len(header.tensor_specs()) == 6 + 4
    assert [factor.shape for factor in bank.factors(3, "down")] == [(3, 2, 6), (3, 4, 2)]
    assert [factor.shape for factor in bank.choice_factors(2)] == [(5, 6), (4, 2)]
    assert len(make_bank(shape).header.choice_layers) == 0


@pytest.mark.parametrize("change", [{"first_layer": 4}, {"first_layer": -1}, {"choice": ChoiceHeadLayout(4, 1, (9,))}])
def test_bank_that_begins_outside_its_layers_cannot_be_made(
    make_bank: Callable[..., Bank], change: dict[str, object]
) -> None:
    with pytest.raises(ContractError, match="first_layer"):
        make_bank(EdgeShape(layers=4, hidden=4, intermediate=6), **change)


def test_bank_with_nan_is_found_by_verify_finite(
    parse: Callable[[str, bytes], object], golden_bytes: Callable[[str], bytes]
) -> None:
    bank = parse("bank", golden_bytes("bank")[:-2] + b"\x00\x7e")
    assert isinstance(bank, Bank)
    with pytest.raises(NonFiniteError, match=r"layers\.1\.up\.B"):
        bank.verify_finite()


def test_bank_of_another_digest_is_refused(golden: Path) -> None:
    path = golden / "bank-1-deltas.safetensors"
    assert Bank.open(path, expected_digest=Bank.open(path).digest).header.mix == "deltas"
    with pytest.raises(MismatchError, match="0" * 64):
        Bank.open(path, expected_digest="0" * 64)
