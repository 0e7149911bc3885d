"""What `import loragen` brings."""

import subprocess
import sys

import pytest

import loragen
from loragen import client
from loragen.client import CloudClient

HEAVY = ("httpx2", "pydantic", "stamina", "grpc", "fastapi")


def test_clients_are_the_packages_own() -> None:
    assert loragen.CloudClient is CloudClient
    for package in (loragen, client):
        assert all(getattr(package, name) for name in package.__all__)
        with pytest.raises(AttributeError, match="Other"):
            package.Other  # noqa: B018


def test_contract_loads_no_client() -> None:
    script = f"import sys, loragen.contract.bundle; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
