"""Values: how fast models answer, and which of them answer more slowly than what was under their names before.

Medians of the last answers are compared, so that one slow answer says nothing. Nothing is known after a restart until
enough answers were given.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

_MOST_MODELS = 1_024

_ANSWERS = 9
"""The last ones, of which the median is taken."""

_SLOWER_SHARE = 2 / 3
"""Of the speed before. A run-time adapter costs up to a fifth, and other requests at the same time some more."""


@dataclass(slots=True)
class _Model:
    bundle_id: str
    answers: deque[float] = field(default_factory=lambda: deque(maxlen=_ANSWERS))
    before: float | None = None

    @property
    def speed(self) -> float | None:
        """None while too few answers were given."""
        return median(self.answers) if len(self.answers) == _ANSWERS else None


class Speeds:
    """How fast models answer, by name."""

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}

    def add(self, name: str, bundle_id: str, tokens_per_second: float) -> None:
        """Note one answer of a bundle under a name."""
        known = self._models.get(name)
        if known is None:
            if len(self._models) >= _MOST_MODELS:
                return
            known = self._models[name] = _Model(bundle_id)
        elif known.bundle_id != bundle_id:
            known = self._models[name] = _Model(bundle_id, before=known.speed or known.before)
        known.answers.append(tokens_per_second)

    def latest(self) -> Mapping[str, float]:
        """Tokens per second of each model's last answer."""
        return {name: model.answers[-1] for name, model in self._models.items()}

    def slower(self) -> frozenset[str]:
        """Names whose bundle is clearly slower than the one before it."""
        return frozenset(name for name, model in self._models.items() if _is_slower(model.speed, model.before))


def _is_slower(speed: float | None, before: float | None) -> bool:
    return speed is not None and before is not None and speed < _SLOWER_SHARE * before
