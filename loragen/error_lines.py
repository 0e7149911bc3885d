"""How an error ends a program: with one line, a hint where there is one, and a link to what the error means.

The packages of both services are always installed; what they need of others comes with an extra.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from loragen.client.errors import ClientError
from loragen.contract.errors import ContractError
from loragen.visible_text import visible
from loragen.web.errors import ServiceError

_OURS = ("loragen", "cloud_service", "edge_runtime")

_BOLD_RED, _PLAIN = "\x1b[31m\x1b[1m", "\x1b[0m"


@contextmanager
def reporting_errors(exit_code: int = 1) -> Iterator[None]:
    """End the program with a line, a hint and a link where there are any, on an error that was raised on purpose."""
    try:
        yield
    except (ServiceError, ClientError, ContractError, OSError) as e:
        label = f"{_BOLD_RED}error{_PLAIN}" if sys.stderr.isatty() else "error"
        code = getattr(e, "code", "")
        lines = [f"{code and f' ({code})'}: {e}"]
        if hint := getattr(e, "hint", ""):
            lines.append(f"hint: {hint}")
        if url := getattr(e, "documentation_url", ""):
            lines.append(f"see: {url}")
        sys.stderr.write(label + visible("\n".join(lines)) + "\n")
        raise SystemExit(exit_code) from e


@contextmanager
def naming_extra(extra: str) -> Iterator[None]:
    """End the program with one line when a package of `extra` is not installed.

    Raises:
        ModuleNotFoundError: A module of this project is missing: no extra brings it.
    """
    try:
        yield
    except ModuleNotFoundError as e:
        module = (e.name or "").partition(".")[0]
        if module in ("", *_OURS):
            raise
        sys.exit(f"error: {module} is not installed; this command needs: pip install 'loragen[{extra}]'")
