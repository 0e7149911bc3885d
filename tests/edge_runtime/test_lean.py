"""A device loads no library that it has no use for."""

import ast
import subprocess
import sys

UNUSED = (
    *("rich", "pygments", "sentencepiece", "google.protobuf", "grpc", "tuf", "cryptography", "torch", "transformers"),
    *("stamina", "loragen.client.cloud", "typer", "click", "yaml", "sqlite3", "multiprocessing", "http.server"),
    *("numpy", "llama_cpp.llama_cpp", "jinja2", "gguf.gguf_writer", "uvicorn.main"),
)


def printed(program: str) -> str:
    """The last line that a program prints."""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    return found.stdout.splitlines()[-1]


def loaded(program: str) -> list[str]:
    """Which of them a process has loaded after a program."""
    names: list[str] = ast.literal_eval(
        printed(f"{program}\nimport sys\nprint([m for m in {UNUSED!r} if m in sys.modules])")
    )
    return names


def test_device_that_only_polls_loads_what_it_needs() -> None:
    assert loaded("import edge_runtime.device_process, edge_runtime.bootstrap, loragen.web.server") == []


def test_what_was_barred_can_be_loaded_later() -> None:
    """By a command that shows a table; and what was loaded before stays."""
    assert loaded("import edge_runtime.lean, rich.console") == ["rich"]
    assert "rich" in loaded("import rich.console, edge_runtime.lean")
    assert printed("from edge_runtime.lean import without\nwith without('wave'): pass\nimport wave\nprint(1)") == "1"


def test_package_whose_modules_are_used_has_all_its_names() -> None:
    """Also those that only its own code brings, in either order; and no others."""
    assert printed("import edge_runtime.lean, gguf, sys\nprint('numpy' in sys.modules, gguf.GGUFReader.__name__)") == (
        "False GGUFReader"
    )
    assert printed("import edge_runtime.lean\nfrom prometheus_client import exposition, Counter\nprint(Counter)") == (
        "<class 'prometheus_client.metrics.Counter'>"
    )
    program = "import edge_runtime.lean, uvicorn, uvicorn.main\nprint(hasattr(uvicorn, 'absent'), uvicorn.Server)"
    assert printed(program) == "False <class 'uvicorn.server.Server'>"


def test_openapi_document_is_whole() -> None:
    """Its validators were not built when FastAPI was imported."""
    program = """
import edge_runtime.lean
from fastapi import FastAPI
app = FastAPI(title="here")
@app.get("/x")
def x() -> int: ...
print(app.openapi()["info"]["title"], list(app.openapi()["paths"]))
"""
    assert printed(program) == "here ['/x']"
