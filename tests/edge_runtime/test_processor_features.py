"""What a processor lacks is found in what Linux says of it, and matters only where llama.cpp dies of it."""

from pathlib import Path

import pytest

from edge_runtime.errors import CanaryError, CanaryUnfinishedError, UpdateError
from edge_runtime.processor_features import missing_features, verify_processor
from edge_runtime.updates.trial import Candidate, TrialReport
from loragen.web.errors import ConfigurationError
from tests.edge_runtime.fakes import TrustingCanary

BASE = Path("base.gguf")
SKYLAKE = "flags\t\t: fpu sse4_2 avx f16c bmi2 avx2 fma\n"
PI_4 = "Features\t: fp asimd evtstrm crc32 cpuid\n"
PI_5 = "Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp\n"


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "missing"),
    [
        ("x86_64", SKYLAKE * 2, []),
        ("AMD64", SKYLAKE, []),
        ("x86_64", SKYLAKE + "flags\t\t: fpu avx2 fma\n", ["bmi2", "f16c"]),
        ("x86_64", "flags\t\t: fpu avx\n", ["avx2", "bmi2", "f16c", "fma"]),
        ("aarch64", PI_4 * 4, ["asimddp", "atomics"]),
        ("aarch64", PI_5, []),
        ("riscv64", "isa\t: rv64\n", []),
        ("x86_64", "processor\t: 0\n", []),
        ("x86_64", "", []),
    ],
)
def test_features_are_read_of_every_core(tmp_path: Path, machine: str, cpuinfo: str, missing: list[str]) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(cpuinfo)
    assert list(missing_features(machine, tmp_path)) == missing


def test_system_that_says_nothing_lacks_nothing(tmp_path: Path) -> None:
    assert list(missing_features("x86_64", tmp_path)) == []


class FailingCanary(TrustingCanary):
    def __init__(self, error: UpdateError) -> None:
        super().__init__()
        self.error = error

    async def verify(self, candidate: Candidate) -> TrialReport:
        await super().verify(candidate)
        raise self.error


async def test_processor_that_lacks_nothing_is_not_tried() -> None:
    canary = TrustingCanary()
    await verify_processor(canary, BASE, [])
    assert canary.tried == []


async def test_build_that_works_without_the_features_is_taken() -> None:
    canary = TrustingCanary()
    await verify_processor(canary, BASE, ["avx2"])
    assert canary.tried == [Candidate(BASE, None, BASE)]
    for other in (CanaryError("ended with SIGSEGV"), CanaryUnfinishedError("too slow")):
        await verify_processor(FailingCanary(other), BASE, ["avx2"])


@pytest.mark.parametrize(("missing", "way"), [(["avx2", "fma"], "GGML_AVX2=OFF"), (["asimddp"], "armv8-a")])
async def test_illegal_instruction_is_one_line_with_a_way(missing: list[str], way: str) -> None:
    dead = FailingCanary(CanaryError("the canary's process ended with SIGILL"))
    with pytest.raises(ConfigurationError, match=f"lacks {', '.join(missing)}, which") as caught:
        await verify_processor(dead, BASE, missing)
    assert way in caught.value.hint
