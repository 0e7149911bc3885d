"""Libraries without the parts that a device does not need, and that they would load: 20 MB less memory.

- structlog takes rich, to show tracebacks with local variables, which no log of ours does. So rich cannot be imported
  while structlog is.
- Some packages import all that they have, such as sqlite for a cache on disk, or an HTTP server. A device wants single
  modules of them. So their own code runs only when something is wanted that none of the modules is.
- FastAPI builds validators for each part of an OpenAPI document. They are built when somebody asks for the document.

Import this before anything that imports one of them.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ConfigDict

_PACKAGES = ("gguf", "llama_cpp", "prometheus_client", "uvicorn")

_lock = threading.RLock()
"""Held while a package's own code runs; one for all packages, because such code may open another package.

No module that we import asks its own package for a name that opens it. Else two threads could wait for each other."""

_opening: set[str] = set()


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
    """A package whose modules can be imported before its own code has run.

    The code runs once, whichever thread is first; the others wait for its end. When it fails, the next one tries again.
    """

    def __getattr__(self, name: str) -> Any:
        loader = None if self.__spec__ is None else self.__spec__.loader
        if name.startswith("__") or loader is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if find_spec(f"{self.__name__}.{name}") is not None:
            return import_module(f"{self.__name__}.{name}")
        with _lock:
            # Its own code, asking for a name that is not there yet, is to be told so.
            if type(self) is _UnopenedPackage and self.__name__ not in _opening:
                _opening.add(self.__name__)
                try:
                    loader.exec_module(self)
                    self.__class__ = ModuleType  # type: ignore[assignment] # from now on a module like any other
                finally:
                    _opening.remove(self.__name__)
        return ModuleType.__getattribute__(self, name)


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
