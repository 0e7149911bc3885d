"""What llama.cpp takes for granted of a processor.

A device that lacks it says so in one line, instead of dying again and again of an illegal instruction. The usual builds
need the features below; one can also be built without. So a processor that lacks some is no reason to refuse. It is a
reason to let the canary's process compute first, which may die in the device's place.
"""

import platform
import signal
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.errors import CanaryError, CanaryUnfinishedError
from edge_runtime.updates.canary import Canary
from edge_runtime.updates.trial import Candidate
from loragen.web.errors import ConfigurationError

_FEATURES = {
    "x86_64": ("avx2", "bmi2", "f16c", "fma"),
    "amd64": ("avx2", "bmi2", "f16c", "fma"),
    # A Raspberry Pi 4 has neither of the two, a Raspberry Pi 5 has both.
    "aarch64": ("asimddp", "atomics"),
    "arm64": ("asimddp", "atomics"),
}
"""Of builds with GGML_NATIVE=OFF: llama.cpp's default on x86, and the image's `armv8.2-a+dotprod` on arm64."""

_WAYS = {
    "x86_64": "-DGGML_NATIVE=OFF -DGGML_AVX=OFF -DGGML_AVX2=OFF -DGGML_BMI2=OFF -DGGML_F16C=OFF -DGGML_FMA=OFF",
    "aarch64": "-DGGML_NATIVE=OFF -DGGML_CPU_ARM_ARCH=armv8-a",
}


def missing_features(machine: str = "", root: Path = Path("/")) -> Sequence[str]:
    """Features that the usual builds need and this processor lacks; none where the system does not say.

    Args:
        machine: As `platform.machine()`.
        root: Where `proc` is.
    """
    needed = _FEATURES.get((machine or platform.machine()).lower(), ())
    try:
        lines = (root / "proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ()
    # A processor with cores of two kinds has what all of them have.
    cores = [set(line.partition(":")[2].split()) for line in lines if line.lower().startswith(("flags", "features"))]
    return [feature for feature in needed if cores and not all(feature in core for core in cores)]


async def verify_processor(canary: Canary, base_gguf: Path, missing: Sequence[str]) -> None:
    """Let the canary compute where features are missing, before this process loads llama.cpp.

    Raises:
        ConfigurationError: The installed llama.cpp needs what this processor lacks.
    """
    if not missing:
        return
    try:
        await canary.verify(Candidate(base_gguf, None, base_gguf))
    except CanaryError as error:
        if signal.SIGILL.name not in str(error):
            return  # whatever it is, the start itself will say it
        is_arm = any(feature in _FEATURES["aarch64"] for feature in missing)
        raise ConfigurationError(
            f"this processor lacks {', '.join(missing)}, which the installed llama-cpp-python needs",
            f'install one that was built here: CMAKE_ARGS="{_WAYS["aarch64" if is_arm else "x86_64"]}" '
            "pip install --no-binary llama-cpp-python llama-cpp-python",
        ) from error
    except CanaryUnfinishedError:
        return
