"""Libraries without the parts that a device does not need, and that they would load: 20 MB less memory.

- structlog takes rich, to show tracebacks with local variables, which no log of ours does. So rich cannot be imported
  while structlog is.
- Some packages import all that they have, such as sqlite for a cache on disk, or an HTTP server. A device wants single
  modules of them. So their own code runs only when something is wanted that none of the modules is.
- FastAPI builds validators for each part of an OpenAPI document. They are built when somebody asks for the document.

Import this before anything that imports one of them.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ConfigDict

_PACKAGES = ("gguf", "llama_cpp", "prometheus_client", "uvicorn")


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Within the block, these modules cannot be imported, unless they are loaded already."""
    barred = [name for name in names if name not in sys.modules]
    for name in barred:
        sys.modules[name] = None  # type: ignore[assignment] # to Python: there is no such module
    try:
        yield
    finally:
        for name in barred:
            del sys.modules[name]


class _UnopenedPackage(ModuleType):
    """A package whose modules can be imported before its own code has run."""

    def __getattr__(self, name: str) -> Any:
        loader = None if self.__spec__ is None else self.__spec__.loader
        if name.startswith("__") or loader is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if find_spec(f"{self.__name__}.{name}") is not None:
            return import_module(f"{self.__name__}.{name}")
        self.__class__ = ModuleType  # type: ignore[assignment] # so that this happens once
        loader.exec_module(self)
        return getattr(self, name)


def _add_unopened(name: str) -> None:
    spec = None if name in sys.modules else find_spec(name)
    if spec is not None:
        package = module_from_spec(spec)
        package.__class__ = _UnopenedPackage
        sys.modules[name] = package


for _name in _PACKAGES:
    _add_unopened(_name)
_before, BaseModel.model_config = BaseModel.model_config, ConfigDict(defer_build=True)
try:
    with without("rich"):
        import fastapi  # noqa: F401 - see above
        import structlog  # noqa: F401
        import uvicorn.config

        vars(uvicorn)["Config"] = uvicorn.config.Config  # its own modules take this from the package
finally:
    BaseModel.model_config = _before
