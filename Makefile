# One word for each thing a developer or a user does; `make help` lists them.
.DEFAULT_GOAL := check
.PHONY: help serve run-fake setup dev fmt lint types arch docs docs-check chart check test test-gpu cluster-up cluster-down e2e-programs e2e bench soak image lock clean

PORT ?= 8000
HOST ?= 127.0.0.1
MODEL ?=
# A folder with a CPU build of torch; without one torch comes from the package index.
WHEELS ?=
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && echo $$python && exit; done; echo python3)

BIN := .venv/bin
INSTALL = @$(PYTHON) requirements/install.py
CODE := service tests docs requirements
# What decides alone, without torch or a socket: every branch of it is tested.
POLICY := */engine/scheduler.py,*/engine/block_pool.py,*/engine/sequence.py,*/engine/gate.py,*/engine/launch.py,*/engine/pace.py,*/engine/lookup.py,*/protocol/*,*/errors.py

# What `make image` builds, and with what.
CONTAINER ?= $(or $(shell command -v podman),docker)
TARGET ?= gpu
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' service/r3mes/__init__.py)
REVISION = $(shell git rev-parse HEAD 2>/dev/null)
IMAGE ?= r3mes:$(VERSION)$(if $(filter control,$(TARGET)),-control)
BASE ?=
INDEX ?=
BUILD_FLAGS ?=

help: ## List what make can do here
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: ## Install if needed and serve a model: make serve [PORT=8000] [HOST=127.0.0.1] [MODEL=folder]
	$(INSTALL) engine --wheels "$(WHEELS)" --address "$(HOST):$(PORT)"
	@$(BIN)/r3mes serve --host "$(HOST)" --port "$(PORT)" $(if $(MODEL),--model "$(MODEL)")

run-fake: ## The same API with made-up answers and no model: make run-fake [PORT=8000]
	$(INSTALL) engine --wheels "$(WHEELS)" --address "$(HOST):$(PORT)"
	@R3MES_ENGINE__RUNNER=fake $(BIN)/r3mes serve --host "$(HOST)" --port "$(PORT)"

setup: dev ## Everything a developer needs: .venv and the git hooks
	@if git rev-parse --git-dir >/dev/null 2>&1; then $(BIN)/pre-commit install; fi

dev:
	$(INSTALL) dev --wheels "$(WHEELS)"

fmt: dev ## Format the code
	@$(BIN)/ruff check --quiet --fix-only $(CODE)
	@$(BIN)/ruff format $(CODE)

lint: dev ## Rules and format of the code
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)

types: dev ## Types, strictly
	@$(BIN)/mypy

arch: dev ## Who may import whom
	@$(BIN)/lint-imports

docs: dev ## Write the generated pages
	@$(BIN)/python docs/generate.py

docs-check: dev ## Fail when a generated page is stale
	@$(BIN)/python docs/generate.py --check

chart: dev ## The tests of the chart alone; without helm less of them
	@$(BIN)/python -m pytest --quiet -rs tests/chart

check: lint types arch docs-check ## All of the above that can fail; the default

test: dev ## Every test; no GPU and no network needed
	@$(BIN)/python -m pytest --numprocesses 2 --dist worksteal --cov --cov-report=
	@$(BIN)/coverage report --include="$(POLICY)" --fail-under 100

test-gpu: dev ## The tests that need a CUDA device
	@TRITON_INTERPRET=0 $(BIN)/python -m pytest -m gpu -rs tests/gpu

cluster-up: ## A real Kubernetes of two nodes on this Linux machine, as root; installs Debian packages, builds with Go
	@cd tests && $(PYTHON) -m e2e.cluster up

cluster-down: ## End that cluster; its images and programs stay cached in ~/.cache/r3mes/e2e
	@cd tests && $(PYTHON) -m e2e.cluster down

e2e-programs: ## Build the programs of the cluster and its cases ahead, Helm among them; as root install packages
	@cd tests && $(PYTHON) -m e2e.cluster build

e2e: dev ## The cases on a cluster: one made and ended here, or E2E_KUBECONFIG=file
	@$(BIN)/python -m pytest -m e2e -rs --verbose --durations=10 tests/e2e

bench: dev ## The engine's figures and other servers on this machine, to docs/benchmarks/: make bench [QUICK=1] [LLAMA_SERVER=path] [VLLM=path]
	@.uv/bin/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements/bench.txt
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

soak: dev ## Ten minutes of cancels, bad requests and killed workers: docs/benchmarks/soak.md
	@$(BIN)/python -m benchmarks.soak

image: ## Build the container image: make image [TARGET=gpu] [IMAGE=name:tag] [BASE=image] [WHEELS=folder]; docs/image.md
	$(CONTAINER) build --file Dockerfile.gpu --target $(TARGET) --tag $(IMAGE) \
		--build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
		$(if $(BASE),--build-arg BASE=$(BASE)) \
		$(if $(INDEX),--build-arg PIP_INDEX_URL=$(INDEX) --build-arg UV_DEFAULT_INDEX=$(INDEX)) \
		$(if $(and $(WHEELS),$(filter gpu,$(TARGET))),--build-arg LOCK=engine-cpu --build-context wheels=$(WHEELS)) \
		$(BUILD_FLAGS) .

lock: dev ## Renew requirements/*.txt from pyproject.toml; WHEELS is needed for the CPU locks
	@$(PYTHON) requirements/lock.py "$(WHEELS)"

clean: ## Remove what make made here
	rm -rf .venv .uv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find service tests docs requirements -name __pycache__ -type d -prune -exec rm -rf {} +
