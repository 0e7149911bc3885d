"""Helper: both programs, run in processes that have nothing of the extras."""

import subprocess
import sys
from pathlib import Path

PROGRAMS = {"cloud_service": "serve", "edge_runtime": "run"}
MAIN = {"cloud_service": "cloud_service.commands.main", "edge_runtime": "edge_runtime.cli"}
FROM_EXTRAS = ("torch", "transformers", "redis", "grpc_health", "grpc_reflection", "tokenizers", "llama_cpp")


def run(root: Path, package: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process that has nothing of the extras."""
    script = f"""
import sys
sys.modules.update(dict.fromkeys({FROM_EXTRAS!r}))
from {MAIN[package]} import main
main(*{arguments!r})
"""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, timeout=60)
