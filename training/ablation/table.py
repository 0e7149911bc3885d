"""The table of the ablations: means over seeds with 95 % t intervals, as Markdown."""

import math
import statistics
from collections.abc import Sequence

from scipy import stats

from training.ablation.runs import Result
from training.ablation.variants import DEFAULT, VARIANTS

HEAD = (
    "variant | parameters | right | less the default's | mismatched - right | gibberish - right | exact match % | CPU s"
)


def render_table(results: Sequence[Result]) -> str:
    """A row for each variant with results; its difference to the default is over the seeds that both have."""
    default = {r.seed: r.cross_entropy["right"] for r in results if r.variant == DEFAULT}
    lines = [f"| {HEAD} |", "|---" * (HEAD.count("|") + 1) + "|"]
    for variant in VARIANTS:
        own = [r for r in results if r.variant == variant.name]
        if not own:
            continue
        losses = [r.cross_entropy for r in own]
        paired = [r.cross_entropy["right"] - default[r.seed] for r in own if r.seed in default]
        columns = (
            variant.name,
            f"{own[0].parameters / 1e6:.2f} M",
            _spelled([loss["right"] for loss in losses]),
            "" if variant.name == DEFAULT else _spelled(paired, "+.3f"),
            _spelled([loss["mismatched"] - loss["right"] for loss in losses]),
            _spelled([loss["gibberish"] - loss["right"] for loss in losses]),
            _spelled([100 * r.exact_match for r in own], ".1f"),
            f"{sum(r.cpu_seconds for r in own) / len(own):.0f}",
        )
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def _spelled(values: Sequence[float], form: str = ".3f") -> str:
    """Mean ± half the 95 % t interval; without the latter for a single value."""
    if not values:
        return ""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:{form}}"
    spread = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:{form}} ± {spread:{form.removeprefix('+')}}"
