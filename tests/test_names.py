"""Each module's test is found by its name, and a file beside the tests that holds none says that it is a helper."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("loragen", "cloud_service", "edge_runtime", "training", "demo", "benchmarks", "scripts")
BACKENDS = ("redis_", "sqlite_")
"""Adapters of one port are tested together, in the file of the port's name."""


def _modules(root: Path) -> Iterator[Path]:
    for package in PACKAGES:
        for path in (root / package).rglob("*.py"):
            if path.name != "__init__.py" and "stubs" not in path.parts:
                yield path.relative_to(root)


def _does_something(source: str) -> bool:
    """Whether a function has more than a docstring or an ellipsis. Values, constants and ports have none that does."""
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    statements = [statement for function in functions for statement in function.body]
    return any(not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant)) for each in statements)


def _tests(root: Path, module: Path) -> Iterator[Path]:
    stem = module.stem.strip("_")
    names = {stem, *(stem.removeprefix(backend) for backend in BACKENDS)}
    return (root / "tests" / module.parent / f"test_{name}.py" for name in names)


def test_each_module_has_a_test_of_its_name(root: Path) -> None:
    modules = [path for path in _modules(root) if path.stem == "__main__" or _does_something((root / path).read_text())]
    assert len(modules) > 300
    assert [str(path) for path in modules if not any(test.exists() for test in _tests(root, path))] == []


def test_files_without_tests_say_that_they_are_helpers(root: Path) -> None:
    helpers = [path for path in (root / "tests").rglob("*.py") if not path.name.startswith(("test_", "conftest"))]
    assert len(helpers) > 20
    said = {path: (ast.get_docstring(ast.parse(path.read_text())) or "").lower() for path in helpers}
    assert [str(path) for path, docstring in said.items() if "helper" not in docstring.split(".")[0][:60]] == []
