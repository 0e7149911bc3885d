"""A device loads no library that it has no use for."""

import ast
import subprocess
import sys

UNUSED = (
    *("rich", "pygments", "sentencepiece", "google.protobuf", "grpc", "tuf", "cryptography", "torch", "transformers"),
    *("stamina", "loragen.client.cloud"),
)


def loaded(program: str) -> list[str]:
    """Which of them a process has loaded after a program."""
    found = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint([m for m in {UNUSED!r} if m in sys.modules])"],
        capture_output=True,
        check=True,
        text=True,
    )
    names: list[str] = ast.literal_eval(found.stdout.splitlines()[-1])
    return names


def test_device_that_only_polls_loads_what_it_needs() -> None:
    assert loaded("import edge_runtime.cli, edge_runtime.bootstrap") == []


def test_what_was_barred_can_be_loaded_later() -> None:
    """By a command that shows a table; and what was loaded before stays."""
    assert loaded("import edge_runtime.cli, edge_runtime.screen, sentencepiece") == ["rich", "sentencepiece"]
    assert "rich" in loaded("import rich.console, edge_runtime.lean")
