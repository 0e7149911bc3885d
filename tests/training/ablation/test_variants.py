"""Variants change what their names say."""

from training.ablation.runs import SETTINGS
from training.ablation.variants import DEFAULT, PAPER, VARIANTS


def test_variants_change_what_their_names_say() -> None:
    names = [variant.name for variant in VARIANTS]
    assert names[0] == DEFAULT
    assert len(set(names)) == len(names)
    for variant in VARIANTS[1:]:
        assert variant.config or variant.fit or variant.direct or variant.warm
        for name, value in variant.config.items():
            assert getattr(PAPER, name) != value
        for name, value in variant.fit.items():
            assert getattr(SETTINGS, name) != value
