"""The catalog: which generators are loaded, and which of them answers a request.

A request may name a generator, an edge model, both or neither; without either, the first generator answers.
`bootstrap` loads generators, `runner` runs them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cloud_service.errors import InvalidRequestError, NotFoundError, UnknownEdgeModelError, UnknownGeneratorError
from cloud_service.generation import GeneratorInfo
from cloud_service.probing import Prober
from cloud_service.refinement import Tuning
from cloud_service.runner import Runner
from loragen.contract.bank import Bank
from loragen.contract.lora import Linears
from loragen.web.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class ServedGenerator:
    """A generator in service: its description, its experts, its queue; the prober and the widths of its edge model.

    Attributes:
        tuning: What refines; None where refinement is off.
    """

    info: GeneratorInfo
    bank: Bank
    runner: Runner
    prober: Prober | None = None
    linears: Linears = field(default_factory=dict)
    tuning: Tuning | None = None

    def require_prober(self) -> Prober:
        """The prober.

        Raises:
            InvalidRequestError: Probing is off.
        """
        if self.prober is None:
            raise InvalidRequestError(
                "expected no probe: this service does not probe",
                "leave out probe, or let the operator set LORAGEN_CLOUD_PROBE=true",
                code="probe_disabled",
            )
        return self.prober

    def require_tuning(self) -> Tuning:
        """The tuning that refines.

        Raises:
            InvalidRequestError: Refinement is off.
        """
        if self.tuning is None:
            raise InvalidRequestError(
                "expected no refine: this service does not refine",
                "leave out refine, or let the operator set LORAGEN_CLOUD_REFINE=true",
                code="refine_disabled",
            )
        return self.tuning


class Catalog:
    """The generators of this process, in the order of the settings.

    Raises:
        ConfigurationError: There is none, or two have the same id.
    """

    def __init__(self, generators: Sequence[ServedGenerator]) -> None:
        if not generators:
            raise ConfigurationError("expected at least one generator, found none", "set LORAGEN_CLOUD_GENERATORS")
        twice = [name for name, count in Counter(served.info.id for served in generators).items() if count > 1]
        if twice:
            raise ConfigurationError(f"expected different generator ids, found {', '.join(twice)} twice")
        self._generators = tuple(generators)

    def __iter__(self) -> Iterator[ServedGenerator]:
        return iter(self._generators)

    def get(self, generator_id: str) -> ServedGenerator:
        """The generator of this name.

        Raises:
            NotFoundError: There is none.
        """
        for served in self._generators:
            if served.info.id == generator_id:
                return served
        raise NotFoundError(f"no generator {generator_id!r} is loaded", f"loaded: {self._ids()}")

    def select(self, generator_id: str | None, edge_model_id: str | None) -> ServedGenerator:
        """The generator that answers a request; None leaves the choice open.

        Raises:
            UnknownGeneratorError: No generator of this name.
            UnknownEdgeModelError: None of the possible generators serves this edge model.
        """
        named = [served for served in self._generators if generator_id in (None, served.info.id)]
        if not named:
            raise UnknownGeneratorError(f"no generator {generator_id!r} is loaded", f"loaded: {self._ids()}")
        fitting = [served for served in named if edge_model_id in (None, served.info.edge_model_id)]
        if not fitting:
            served_models = ", ".join(sorted({served.info.edge_model_id for served in named}))
            raise UnknownEdgeModelError(f"edge model {edge_model_id!r} is not served", f"served: {served_models}")
        return fitting[0]

    def find_bank(self, digest: str) -> Bank | None:
        """The bank with this digest; None when no generator has it."""
        return next((served.bank for served in self._generators if served.bank.digest == digest), None)

    def _ids(self) -> str:
        return ", ".join(served.info.id for served in self._generators)
