"""The table has t intervals over seeds."""

from training.ablation.runs import Result
from training.ablation.table import render_table
from training.ablation.variants import DEFAULT


def result(variant: str, seed: int, right: float) -> Result:
    losses = {"right": right, "mismatched": right + 0.5, "gibberish": 2.0}
    return Result(variant, seed, 2, ["c", "e"], 1_500_000, 10, 4.0, losses, 0.25)


def test_table_has_t_intervals_and_differences_on_the_same_seeds() -> None:
    """Three seeds 0.2 apart: 4.303 * 0.2 / sqrt(3) = 0.497; a constant difference has no spread."""
    values = {1: 1.0, 2: 1.2, 3: 1.4}
    results = [result(DEFAULT, seed, right) for seed, right in values.items()]
    results += [result("n=4", seed, right - 0.1) for seed, right in reversed(values.items())]
    results.append(result("K=1", 9, 1.0))
    head, _, default, fewer, single = render_table(results).splitlines()
    assert head.startswith("| variant | parameters | right |")
    assert default == "| paper | 1.50 M | 1.200 ± 0.497 |  | 0.500 ± 0.000 | 0.800 ± 0.497 | 25.0 ± 0.0 | 4 |"
    assert fewer.startswith("| n=4 | 1.50 M | 1.100 ± 0.497 | -0.100 ± 0.000 |")
    assert single.startswith("| K=1 | 1.50 M | 1.000 |  | 0.500 | 1.000 |"), "one seed has no interval"
