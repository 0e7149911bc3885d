"""Each module's test is found by its name, a helper says that it is one, and one name means one thing."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("loragen", "cloud_service", "edge_runtime", "training", "demo", "benchmarks", "scripts")
BACKENDS = ("redis_", "sqlite_")
"""Adapters of one port are tested together, in the file of the port's name."""

SAME_CLASSES = {"InvalidRequestError"}
"""Each service has its own tree of errors; both answer a malformed request with the code `invalid_request`."""

SAME_MODULES = {
    "access_gate": "who may call, at HTTP and at gRPC",
    "app": "the HTTP application of a service",
    "asked_arguments": "arguments that all are asked for: the schema, and what a client sees of them",
    "artifacts": "bundles and recipes by their ids, in the cloud and on a device",
    "bootstrap": "puts a service together",
    "chat_format": "what a model sees of a chat: the text, and its tokens for the service and for training",
    "choice_head": "the choice head: its arithmetic in the bank, in the generator, and its fit",
    "cloud_answers": "what the cloud answers, and what a client makes of it",
    "config": "settings",
    "device": "a device, and the client of one",
    "device_answers": "what a device answers, and what a client makes of it",
    "device_routes": "routes about devices",
    "error_codes": "what the codes of a service's errors mean",
    "errors": "the errors of a package",
    "fleet": "channels and devices: their store, their commands, their benchmark",
    "jobs": "refinement jobs: the service, their store, their commands",
    "keys": "API keys, and their commands",
    "limits": "the largest sizes that a package takes",
    "memory": "the memory of a process",
    "port": "the port of a package",
    "report": "results as Markdown",
    "residual_prompt": "what stays of a prompt: the rule of its length, and the choice of its text",
    "schemas": "bodies of requests",
    "scope": "what surrounds each request, over HTTP and over gRPC",
    "server": "runs until it is stopped",
    "sessions": "sessions of the console, and their store",
    "status": "which status an error has",
    "tasks": "the tasks that are measured",
    "telemetry": "metrics of a service",
    "tls": "TLS: its rules, and each side that uses it",
}
"""File names that several modules have, and the idea that these share."""


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


def test_public_classes_have_names_of_their_own(root: Path) -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in _modules(root):
        for node in ast.parse((root / path).read_text()).body:
            for name in _names_of_a_type(node):
                places[name].append(str(path))
    assert len(places) > 600
    assert {name: found for name, found in places.items() if len(found) > 1 and name not in SAME_CLASSES} == {}
    assert {name for name in SAME_CLASSES if len(places[name]) < 2} == set(), "the exception is not needed any more"


def test_modules_of_one_name_share_an_idea(root: Path) -> None:
    modules = [path.stem for path in _modules(root) if path.stem != "__main__"]
    assert {name for name in modules if modules.count(name) > 1} == SAME_MODULES.keys()


def _names_of_a_type(node: ast.stmt) -> Iterator[str]:
    """The public names of a class, or of an alias such as `Digest = Annotated[...]`."""
    if isinstance(node, ast.ClassDef):
        names = [node.name]
    elif isinstance(node, ast.Assign):
        names = [each.id for each in node.targets if isinstance(each, ast.Name) and not each.id.isupper()]
    else:
        names = []
    yield from (name for name in names if name[0].isupper())
