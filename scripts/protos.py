"""Makes the Python stubs in `loragen/contract/stubs` from `protos/`, or checks that they are what the sources give.

The generated modules import one another by the proto package's path; that import is pointed at
`loragen.contract.stubs`, the only change made to them. Run it through `make protos`; `make check` calls it with
`--check`.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "protos"
STUBS = ROOT / "loragen" / "contract" / "stubs"
IMPORT = re.compile(r"^from loragen\.v\d+ import (\w+_pb2)", re.MULTILINE)


def generate(directory: Path) -> dict[str, str]:
    """Runs protoc into `directory`.

    Returns:
        File name -> text, for every stub.

    Raises:
        SystemExit: protoc refused the sources.
    """
    sources = sorted(str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.proto"))
    outputs = [f"--{kind}_out={directory}" for kind in ("python", "pyi", "grpc_python")]
    well_known = files("grpc_tools") / "_proto"
    code = protoc.main(["protoc", f"-I{SOURCES}", f"-I{well_known}", *outputs, *sources])
    if code != 0 or not sources:
        raise SystemExit(f"protoc failed with {code} on {sources or 'no sources'}")
    stubs = (*directory.rglob("*.py"), *directory.rglob("*.pyi"))
    return {path.name: IMPORT.sub(r"from loragen.contract.stubs import \1", path.read_text()) for path in sorted(stubs)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks the stubs; 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        wanted = generate(Path(directory))
    if options.check:
        present = {path.name: path.read_text() for path in STUBS.glob("*_pb2*") if path.is_file()}
        stale = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
        if stale:
            print(
                f"loragen/contract/stubs is not what protos/ gives: {', '.join(stale)}; run `make protos`",
                file=sys.stderr,
            )
        return int(bool(stale))
    STUBS.mkdir(parents=True, exist_ok=True)
    for name, text in wanted.items():
        (STUBS / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
