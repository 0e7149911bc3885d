"""The limits in the documentation are those of the code."""

import re
from pathlib import Path

from loragen.contract import limits


def test_documented_limits_are_those_of_the_code() -> None:
    """The table in docs/bundle-format.md, value for value."""
    text = (Path(__file__).parents[3] / "docs" / "bundle-format.md").read_text()
    units = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "": 1}
    documented = {
        name: int(number.replace(",", "")) * units[unit]
        for name, number, unit in re.findall(r"\| `(MAX_\w+)` \| ([\d,]+) ?(\w*) ", text)
    }
    values = {name: value for name, value in vars(limits).items() if name.startswith("MAX_")}
    # This one has no row: the text about channels says it.
    assert values.pop("MAX_CHANNEL_VERSION") == 2**53 - 1
    assert documented == values
