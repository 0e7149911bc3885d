"""A device loads no library that it has no use for."""

import ast
import os
import subprocess
import sys
from pathlib import Path

from edge_runtime.lean import _PACKAGES

UNUSED = (
    *("rich", "pygments", "sentencepiece", "google.protobuf", "grpc", "tuf", "cryptography", "torch", "transformers"),
    *("stamina", "loragen.client.cloud", "typer", "click", "yaml", "sqlite3", "multiprocessing", "http.server"),
    *("numpy", "llama_cpp.llama_cpp", "jinja2", "gguf.gguf_writer", "uvicorn.main"),
)


def printed(program: str, packages: Path | None = None) -> str:
    """The last line that a program prints; it may import what is in the folder `packages`."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *([str(packages)] if packages else [])]),
    }
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True, env=environment)
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


OPENED_BY_EIGHT = """
import sys, threading
from edge_runtime.lean import _add_unopened
_add_unopened("slow")
import slow
found, start = [], threading.Barrier(8)
def take():
    start.wait()
    found.append(slow.late)
threads = [threading.Thread(target=take) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join(20)
print(found, sys.slow, type(slow).__name__)
"""


def test_threads_that_open_a_package_together_wait_for_one(tmp_path: Path) -> None:
    """Its code runs once, and may import its own modules and ask for names that it does not have yet."""
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow/part.py").write_text("import slow\n")
    (tmp_path / "slow/__init__.py").write_text(
        "import sys, time\nsys.slow = getattr(sys, 'slow', 0) + 1\n"
        "import slow.part\nassert not hasattr(slow, 'late')\ntime.sleep(0.2)\nlate = 7\n"
    )
    assert printed(OPENED_BY_EIGHT, tmp_path) == f"{[7] * 8} 1 module"


def test_package_whose_code_fails_says_so_each_time(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/__init__.py").write_text(
        "import sys\nearly = 1\nif not hasattr(sys, 'healed'): raise OSError('no library')\n"
    )
    program = """
import sys
from edge_runtime.lean import _add_unopened
_add_unopened("broken")
import broken
said = []
for _ in range(2):
    try: broken.late
    except OSError as error: said.append(str(error))
sys.healed = True
print(said, broken.early, hasattr(broken, "late"))
"""
    assert printed(program, tmp_path) == "['no library', 'no library'] 1 False"


def test_no_module_that_we_import_opens_its_package(root: Path) -> None:
    """Else two threads could wait for each other: for the module that one imports, and for the package."""
    trees = [
        ast.parse(path.read_text()) for code in ("edge_runtime", "loragen") for path in (root / code).rglob("*.py")
    ]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules = sorted(name for name in imported if name.partition(".")[0] in _PACKAGES and "." in name)
    assert {"gguf.constants", "uvicorn.config"} <= set(modules)
    program = "import edge_runtime.lean, importlib, sys\n"
    kinds = f"[m for m in {modules!r} if type(sys.modules[m.partition('.')[0]]).__name__ != '_UnopenedPackage']"
    assert printed(f"{program}for m in {modules!r}: importlib.import_module(m)\nprint({kinds})") == "[]"


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
