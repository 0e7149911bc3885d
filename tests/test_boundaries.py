"""What each package may load, proven by importing every module with the forbidden packages made unimportable.

The linter reads import statements; `from safetensors.torch import ...` passes it and loads torch all the same.
"""

import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

SCRIPT = """
import importlib, pkgutil, sys
roots, left_out, forbidden = (text.split(",") for text in sys.argv[1:])
for name in forbidden:
    sys.modules[name] = None
count = 0
for root in roots:
    package = importlib.import_module(root)
    for module in pkgutil.walk_packages(package.__path__, root + "."):
        skipped = any(f"{module.name}.".startswith(f"{name}.") for name in left_out if name)
        if skipped or module.name.endswith("__main__"):
            continue
        importlib.import_module(module.name)
        count += 1
print(count)
"""
TORCH = "torch,transformers,peft,accelerate"
REDIS = tuple(
    f"store.redis{part}" for part in ("", "_access", "_fleet", "_imports", "_jobs", "_server", "_sessions", "_shares")
)
ADAPTER = ",".join(
    f"edge_runtime.serving.{module}"
    for module in ("grammar", "llama", "llama_context", "llama_model", "llama_sequences", "sampler")
)


@pytest.mark.parametrize(
    ("packages", "left_out", "forbidden"),
    [
        ("loragen.contract", "", f"{TORCH},llama_cpp,redis,fastapi,pydantic,cloud_service,edge_runtime,training"),
        ("edge_runtime", "", f"{TORCH},redis,cloud_service,training"),
        (
            "edge_runtime",
            f"{ADAPTER},edge_runtime.bootstrap",
            "llama_cpp",
        ),
        ("cloud_service", "cloud_service.generator", f"{TORCH},llama_cpp,edge_runtime,training"),
        pytest.param(
            "cloud_service",
            ",".join(f"cloud_service.{name}" for name in ("bootstrap", *REDIS)),
            "redis",
            marks=pytest.mark.slow,
        ),
        ("demo", "", f"{TORCH},llama_cpp,redis,fastapi,edge_runtime,training"),
    ],
)
def test_every_module_imports_without_the_forbidden_ones(
    packages: str, left_out: str, forbidden: str, root: Path
) -> None:
    command = [sys.executable, "-c", SCRIPT, packages, left_out, forbidden]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 3


def test_no_module_reaches_itself_through_its_imports() -> None:
    """Those within functions count as well: they hide a circle and do not mend it."""
    roots = ("loragen", "cloud_service", "edge_runtime", "training", "demo", "benchmarks")
    graph = grimp.build_graph(*roots, exclude_type_checking_imports=True)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # a CycleError names the circle
