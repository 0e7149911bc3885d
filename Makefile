# The only interface: CI calls these targets and nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

PYTHON_BIN := .venv/bin/python
DATA ?= $(error this needs the folder of packed public data: DATA=dir, see docs/training.md)
ARGS ?=

# Nothing here fetches models; a library that tries should say so at once.
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help setup setup-run demo test test-emulated check format bench bench-gpu protos reference train calibrate evaluate \
	ablate up up-secure down

help:  ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | while IFS=$$'\t' read -r target text; do printf '  %-13s %s\n' "$$target" "$$text"; done

setup:  ## Make .venv: pinned dependencies, llama-cpp-python built once, missing Debian packages
	@scripts/setup.sh

setup-run:  ## Make .venv with only what the services and the demo need
	@scripts/setup.sh run

demo: setup-run  ## Three task descriptions become specializations on a device, measured: build/demo.json
	@$(PYTHON_BIN) -m demo.run $(ARGS)

test: setup  ## Run all tests, or some: make test ARGS=tests/loragen/contract
	@OMP_NUM_THREADS=1 $(PYTHON_BIN) -m pytest $(ARGS)

test-emulated: setup  ## Run the tests of a device on an emulated arm64 processor; Debian, see CONTRIBUTING.md
	@scripts/arm64.sh
	@ARM64_HOME=build/arm64 OMP_NUM_THREADS=1 $(PYTHON_BIN) -m pytest -o faulthandler_timeout=0 \
		tests/edge_runtime/test_arm64.py $(ARGS)

check: setup  ## Lint, format, types, import boundaries, and drift of generated files
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@$(PYTHON_BIN) scripts/protos.py --check
	@$(PYTHON_BIN) scripts/reference.py --check

format: setup  ## Format and fix what ruff can
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

bench: setup  ## Measure the published figures, or some: build/bench.json
	@$(PYTHON_BIN) -m benchmarks $(ARGS)

bench-gpu: setup  ## Generation and a training step with Llama-3-8B shapes; without a GPU, small ones
	@$(PYTHON_BIN) -m benchmarks.gpu_generate $(ARGS)

protos: setup  ## Make loragen/contract/stubs from protos/
	@$(PYTHON_BIN) scripts/protos.py

reference: setup  ## Make docs/reference.md from the settings and command lines
	@$(PYTHON_BIN) scripts/reference.py

# Without these, glibc gives the large buffers of each step back to the kernel, and an eighth of the time is lost.
train: export MALLOC_MMAP_THRESHOLD_ := 17179869184
train: export MALLOC_TRIM_THRESHOLD_ := 34359738368
train: export MALLOC_TOP_PAD_ := 268435456
train: setup  ## Train the generator of models/smollm2 on the data in DATA=dir
	@$(PYTHON_BIN) -m training train smollm2 --data $(DATA) $(ARGS)

calibrate: setup  ## Calibrate the confidence of the default pair on the data in DATA=dir
	@$(PYTHON_BIN) -m training calibrate --data $(DATA) $(ARGS)

evaluate: setup  ## Evaluate the default pair with its controls, on the data in DATA=dir
	@$(PYTHON_BIN) -m training evaluate --data $(DATA) $(ARGS)

ablate: setup  ## Repeat the paper's ablations on the default pair, in short runs: DATA=dir; resumes
	@$(PYTHON_BIN) -m training ablate --data $(DATA) $(ARGS)

up:  ## Run the services in containers, and the demo client once; the services stay up
	docker compose up --build --detach --wait cloud edge
	docker compose run --rm client

up-secure:  ## The same with TLS and API keys, which build/secure.env keeps: . build/secure.env
	@scripts/up_secure.sh

down:  ## Stop the containers; what they stored stays, and goes with ARGS=--volumes
	docker compose down --remove-orphans $(ARGS)
