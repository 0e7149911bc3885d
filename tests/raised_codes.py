"""Helper: the codes of errors that a package gives as it raises them, found in its source."""

import ast
from collections.abc import Iterator
from pathlib import Path

from loragen.web.errors import ServiceError


def raised_codes(package: Path) -> set[tuple[str, str]]:
    """Pairs of a code and of the class that is called with it; of a code that is put together, its beginning."""
    return {pair for path in package.rglob("*.py") for pair in _codes(ast.parse(path.read_text()), "")}


def _codes(node: ast.AST, within: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.ClassDef):
        within = node.name
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func).rpartition(".")[2]
        for keyword in node.keywords:
            if keyword.arg == "code" and (name == "cls" or name.endswith("Error")):
                value = keyword.value.values[0] if isinstance(keyword.value, ast.JoinedStr) else keyword.value
                if isinstance(value, ast.Constant):
                    yield str(value.value), within if name == "cls" else name
    for child in ast.iter_child_nodes(node):
        yield from _codes(child, within)


def class_codes(error: type[ServiceError]) -> set[str]:
    """The codes of a tree of errors."""
    return {error.code}.union(*(class_codes(each) for each in error.__subclasses__()))
