"""Adapter: tables for people who use a command line (rich).

Rules: what came from elsewhere is neither markup nor a command to the terminal. Outside of a terminal nothing is cut to
a width, so that ids can be copied and messages found.
"""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from loragen.visible_text import visible

_WIDE = 1_000
"""Columns outside of a terminal."""

_READABLE = 24
"""Least columns of the last cell, which has the longest text: the others are not to squeeze it to a word a line."""

_GAP = 3
"""Columns between two cells."""


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print rows under heads.

    Args:
        heads: Of the columns.
        rows: Cells; None is an empty one.
        title: What stands above.
    """
    cells = [["" if cell is None else visible(cell) for cell in row] for row in rows]
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDE
    table = Table(*heads, box=box.SIMPLE_HEAD, pad_edge=False, title=visible(title), title_justify="left")
    *others, last = (max(map(len, column)) for column in zip(heads, *cells, strict=True))
    table.columns[-1].width = min(last, max(_READABLE, console.width - sum(others) - _GAP * len(heads)))
    for row in cells:
        table.add_row(*row)
    console.print(table)
