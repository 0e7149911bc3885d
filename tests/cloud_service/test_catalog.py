"""Which generator answers a request."""

from pathlib import Path
from typing import cast

import pytest

from cloud_service.catalog import Catalog, ServedGenerator
from cloud_service.errors import InvalidRequestError, NotFoundError, UnknownEdgeModelError, UnknownGeneratorError
from cloud_service.runner import Runner
from loragen.web.errors import ConfigurationError
from tests.cloud_service.fake_generator import FakeGenerator


def _served(directory: Path, generator_id: str, edge_model_id: str = "small") -> ServedGenerator:
    generator = FakeGenerator(directory, generator_id=generator_id, edge_model_id=edge_model_id)
    return ServedGenerator(generator.info, generator.bank, cast(Runner, None))


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog([_served(tmp_path, "first"), _served(tmp_path, "second", "large")])


@pytest.mark.parametrize(
    ("generator_id", "edge_model_id", "expected"),
    [
        (None, None, "first"),
        (None, "large", "second"),
        ("second", None, "second"),
        ("first", "small", "first"),
    ],
)
def test_generator_is_chosen_by_name_by_edge_model_or_by_default(
    catalog: Catalog, generator_id: str | None, edge_model_id: str | None, expected: str
) -> None:
    assert catalog.select(generator_id, edge_model_id).info.id == expected


def test_unknown_generator_is_refused_with_the_loaded_ones(catalog: Catalog) -> None:
    with pytest.raises(UnknownGeneratorError, match="third") as caught:
        catalog.select("third", None)
    assert "first, second" in caught.value.hint
    with pytest.raises(NotFoundError, match="third"):
        catalog.get("third")


@pytest.mark.parametrize(("generator_id", "edge_model_id"), [(None, "huge"), ("first", "large")])
def test_edge_model_that_nobody_serves_is_refused(
    catalog: Catalog, generator_id: str | None, edge_model_id: str
) -> None:
    with pytest.raises(UnknownEdgeModelError, match=edge_model_id):
        catalog.select(generator_id, edge_model_id)


def test_bank_is_found_by_its_digest(catalog: Catalog) -> None:
    bank = catalog.get("second").bank
    assert catalog.find_bank(bank.digest) is bank
    assert catalog.find_bank("0" * 64) is None


def test_catalog_without_generators_or_with_one_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="at least one"):
        Catalog([])
    with pytest.raises(ConfigurationError, match="first twice"):
        Catalog([_served(tmp_path, "first"), _served(tmp_path, "first")])


def test_prober_that_is_off_is_an_invalid_request(catalog: Catalog) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        catalog.get("first").require_prober()
    assert caught.value.code == "probe_disabled"
