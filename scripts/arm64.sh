#!/usr/bin/env bash
# Makes build/arm64: Debian's Python for arm64 and what a device needs, to run emulated on this machine (`make test-emulated`).
# What is there already stays; without network it does nothing then.
#
#   root/usr/bin/python   runs it: ARM64_CPU=cortex-a72, a Raspberry Pi 4, or another that `qemu-aarch64-static -cpu help` lists
#   root/                 with llama.cpp for any arm64 (armv8-a)
#   newer/llama_cpp       llama.cpp as the image has it on arm64 (armv8.2-a+dotprod); wins with PYTHONPATH=build/arm64/newer
#
# It needs Debian with these packages, no rights and no chroot. In a virtual environment (`make setup`), because of its pip.
#   apt-get install qemu-user-static g++-aarch64-linux-gnu cmake ninja-build
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."

home="$PWD/build/arm64" root="$PWD/build/arm64/root" pip=(.venv/bin/python -m pip --disable-pip-version-check -q)
packages="$root/usr/lib/python3/dist-packages"
llama="$home/llama_cpp_python-$(sed -n 's/^llama_cpp_python==//p' constraints.txt)"

say() { printf 'arm64: %s\n' "$*" >&2; }

for program in qemu-aarch64-static aarch64-linux-gnu-g++ cmake ninja apt-get dpkg-deb; do
    command -v "$program" >/dev/null 2>&1 || {
        say "$program is missing"
        say "hint: on Debian: apt-get install qemu-user-static g++-aarch64-linux-gnu cmake ninja-build"
        exit 1
    }
done

# Downloads and unpacks Debian packages with all that they need. apt gets folders of its own, so that this system's packages and
# architectures stay as they are.
unpack_debian() {
    local state="$home/apt" package
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$root"
    : >"$state/status"
    local options=(-qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o "APT::Sandbox::User=$(id -un)"
        -o "Dir::State=$state" -o "Dir::State::lists=$state/lists" -o "Dir::State::status=$state/status"
        -o "Dir::Cache=$state/cache" -o Debug::NoLocking=1)
    apt-get "${options[@]}" update
    apt-get "${options[@]}" install -y --download-only --no-install-recommends "$@" >/dev/null
    for package in "$state"/cache/archives/*.deb; do
        dpkg-deb -x "$package" "$root"
    done
    [ -e "$root/lib" ] || ln -s usr/lib "$root/lib"
    rm -r "$state"
}

# Python calls itself what it was called here, and so starts its children emulated too.
write_starter() {
    cat >"$root/usr/bin/python" <<'EOF'
#!/bin/sh
root="${0%/usr/bin/python}"
exec qemu-aarch64-static -cpu "${ARM64_CPU:-cortex-a72}" -L "$root" -0 "$0" "$root/usr/bin/python3" "$@"
EOF
    chmod +x "$root/usr/bin/python"
}

# install_wheels REQUIREMENT...: those for arm64; nothing is built and nothing runs.
install_wheels() {
    local version glibc platforms=(--platform manylinux2014_aarch64)
    version="$(readlink "$root/usr/bin/python3")"
    for glibc in $(seq 17 36); do
        platforms+=(--platform "manylinux_2_${glibc}_aarch64")
    done
    "${pip[@]}" install --target "$packages" --upgrade --python-version "${version#python}" --only-binary :all: \
        "${platforms[@]}" -c constraints.txt "$@"
}

# What pyproject.toml asks for on a device, but llama-cpp-python, which is built here.
device_requirements() {
    .venv/bin/python -c '
import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
asked = project["dependencies"] + project["optional-dependencies"]["edge"]
print("\n".join(each for each in asked if "llama" not in each))'
}

# build_llama BASELINE FOLDER: puts llama_cpp, with libraries for this baseline, into the folder.
build_llama() {
    say "building llama.cpp for $1, some minutes"
    cmake -G Ninja -S "$llama" -B "$llama/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_SYSTEM_NAME=Linux \
        -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc \
        -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF "-DGGML_CPU_ARM_ARCH=$1" \
        -DSKBUILD_PLATLIB_DIR=unused -Wno-dev --log-level=WARNING >/dev/null
    cmake --build "$llama/build" --target llama ggml ${ARM64_JOBS:+-j "$ARM64_JOBS"} >&2
    rm -rf "$2/llama_cpp"
    mkdir -p "$2"
    cp -r "$llama/llama_cpp" "$2/llama_cpp"
    mkdir -p "$2/llama_cpp/lib"
    cp -P "$llama"/build/bin/lib*.so* "$2/llama_cpp/lib/"
}

fingerprint="$(cat pyproject.toml constraints.txt scripts/arm64.sh | sha256sum | cut -d' ' -f1)"
[ "$(cat "$home/.fingerprint" 2>/dev/null)" != "$fingerprint" ] || exit 0

mkdir -p "$home"
rm -rf "$root" "$home/newer" "$home/.fingerprint"
say "unpacking Debian's Python for arm64"
unpack_debian python3-minimal libpython3-stdlib libgomp1 libstdc++6
write_starter
say "installing libraries"
mapfile -t requirements < <(device_requirements)
install_wheels "${requirements[@]}" diskcache pytest pytest-asyncio hypothesis jsonschema-rs tokenizers
if [ ! -d "$llama" ]; then
    "${pip[@]}" download --no-deps --no-binary llama-cpp-python -c constraints.txt -d "$home" llama-cpp-python
    tar -xzf "$llama.tar.gz" -C "$home"
fi
build_llama armv8-a "$packages"
build_llama armv8.2-a+dotprod "$home/newer"
"$root/usr/bin/python" -c 'import llama_cpp'
printf '%s\n' "$fingerprint" >"$home/.fingerprint"
say "ready"
