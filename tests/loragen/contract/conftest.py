"""What the tests of the contract share: the golden files, the plain reference, and makers of small values."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from loragen.contract.answer import TEXT_ANSWER, AnswerContract
from loragen.contract.bank import Bank, BankHeader, write_bank
from loragen.contract.bundle import Bundle, BundleHeader, parse_bundle
from loragen.contract.choice_head import ChoiceHeadLayout
from loragen.contract.lora import Block, EdgeShape, Lora
from loragen.contract.mixes import Mix
from loragen.contract.recipe import parse_recipe


def attention_widths(shape: EdgeShape) -> dict[str, tuple[int, int]]:
    """Input and output widths of attention in the tests' edge models: half as many keys and values as queries."""
    return {
        "q": (shape.hidden, shape.hidden),
        "k": (shape.hidden, shape.hidden // 2),
        "v": (shape.hidden, shape.hidden // 2),
        "o": (shape.hidden, shape.hidden),
    }


GOLDEN = Path(__file__).parent / "golden"
DIGEST = "0123456789abcdef" * 4


@pytest.fixture(scope="session")
def golden() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """golden/reference.py, which knows nothing of `contract`."""
    return _module(GOLDEN / "reference.py")


@pytest.fixture(scope="session")
def gguf_reference() -> ModuleType:
    """golden/gguf_reference.py, likewise."""
    return _module(GOLDEN / "gguf_reference.py")


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"golden_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_bank(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bank]:
    """Writes and opens a bank of random experts; `tensors` replaces some of them."""

    def make(
        shape: EdgeShape,
        *,
        groups: int = 1,
        experts: int = 3,
        rank: int = 2,
        alpha: float = 16.0,
        mix: Mix = "parameters",
        first_layer: int = 0,
        choice: ChoiceHeadLayout | None = None,
        seed: int = 0,
        scale: float = 0.5,
        tensors: dict[str, np.ndarray] | None = None,
    ) -> Bank:
        sizes = (groups, experts, rank, alpha, mix, first_layer, choice)
        header = BankHeader("test", "test/edge", DIGEST, shape, *sizes)
        rng = np.random.default_rng(seed)
        values = {
            name: (rng.standard_normal(spec.shape) * scale).astype(np.float16)
            for name, spec in header.tensor_specs().items()
        }
        path = tmp_path_factory.mktemp("bank") / "bank.safetensors"
        write_bank(path, header, values | (tensors or {}))
        return Bank.open(path)

    return make


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., Bundle]:
    """Makes a bundle of random factors; `ranks` says which projections have some, instead of `rank` for all."""

    def make(
        shape: EdgeShape,
        *,
        rank: int = 2,
        ranks: Mapping[Block, int] | None = None,
        answer: AnswerContract = TEXT_ANSWER,
        residual_prompt: str = "",
        seed: int = 0,
        scale: float = 0.1,
    ) -> Bundle:
        rng = np.random.default_rng(seed)

        def numbers(*size: int) -> np.ndarray:
            return (rng.standard_normal(size) * scale).astype(np.float16)

        factors = {}
        for block, size in (ranks or dict.fromkeys(shape.blocks(), rank)).items():
            width_in, width_out = attention_widths(shape).get(block[1]) or shape.in_out(block[1])
            factors[block] = (numbers(size, width_in), numbers(width_out, size))
        header = BundleHeader(
            generator_id="test",
            generator_digest=DIGEST,
            edge_model_id="test/edge",
            edge_model_digest=DIGEST,
            layers=shape.layers,
            edge_model_hidden=shape.hidden,
            edge_model_intermediate=shape.intermediate,
            gates_digest=DIGEST,
            prompt_tokens=100,
            answer=answer,
            residual_prompt=residual_prompt,
            residual_prompt_tokens=len(residual_prompt.split()),
        )
        return Bundle(header, Lora(shape, factors))

    return make


@pytest.fixture
def parse(tmp_path: Path) -> Callable[[str, bytes], object]:
    """Parses the bytes of a file of the named kind."""

    def run(kind: str, data: bytes) -> object:
        if kind == "bank":
            (tmp_path / "bank").write_bytes(data)
            return Bank.open(tmp_path / "bank")
        return parse_bundle(data) if kind == "bundle" else parse_recipe(data)

    return run


@pytest.fixture
def golden_bytes(golden: Path) -> Callable[[str], bytes]:
    """The golden file of a kind, of mix `parameters`."""
    return lambda kind: (golden / f"{kind}-1-parameters.safetensors").read_bytes()
