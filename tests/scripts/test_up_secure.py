"""`make up-secure`, with a docker that only notes what it is asked."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

DOCKER = """#!/bin/sh
echo "$COMPOSE_FILE device=$EDGE_API_KEY $*" >>"$LOG"
case "$*" in
*"keys list"*) [ "$KNOWN" = yes ] ;;
*"keys bootstrap"*) echo admin-key ;;
*"keys create"*) echo device-key ;;
esac
"""


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """A folder with the script alone."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(root / "scripts" / "up_secure.sh", tmp_path / "scripts")
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    return tmp_path


def run(checkout: Path, *, known: bool = False, **environment: str) -> list[str]:
    """What docker was asked, line by line."""
    log = checkout / "log"
    log.write_text("")
    path = f"{checkout / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment |= {"PATH": path, "LOG": str(log), "KNOWN": "yes" if known else "no"}
    subprocess.run([checkout / "scripts" / "up_secure.sh"], check=True, env=environment, capture_output=True)
    return log.read_text().splitlines()


def test_keys_are_made_kept_for_their_owner_alone_and_given_to_device_and_client(checkout: Path) -> None:
    asked = run(checkout, CLOUD_PORT="18080")
    kept = checkout / "build" / "secure.env"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert set(kept.read_text().splitlines()) == {
        "export LORAGEN_API_KEY=admin-key",
        "export EDGE_API_KEY=device-key",
        "export LORAGEN_URL=https://localhost:18080",
        f"export SSL_CERT_FILE={checkout / 'build' / 'certificate.pem'}",
    }
    assert all(line.startswith("docker-compose.yml:docker-compose.secure.yml ") for line in asked)
    device, client = asked[-2:]
    assert "device=device-key compose up --detach --wait edge" in device
    assert client.endswith("compose run --rm client")


def test_keys_that_the_store_knows_are_used_again(checkout: Path) -> None:
    run(checkout)
    asked = run(checkout, known=True)
    assert not [line for line in asked if "bootstrap" in line or "create" in line]
    assert "device=device-key compose up --detach --wait edge" in asked[-2]


def test_keys_that_the_store_does_not_know_are_made_anew(checkout: Path) -> None:
    run(checkout)
    assert [line for line in run(checkout, known=False) if "keys bootstrap" in line]
