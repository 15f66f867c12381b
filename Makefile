.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.13,$(shell python$(v) -c 'import sys; print(sys.executable)' 2>/dev/null)))
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help
help:  ## List all targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: setup
setup: $(INSTALLED)  ## Virtual environment and packages; does nothing where they are up to date.

# Torch comes first: where a CPU build is offered locally it is taken, and nothing that is
# installed afterwards replaces it.
$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found (install one, or say make PYTHON=/path/to/python)" >&2; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch 2> >(grep -v '^WARNING: Location' >&2)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' 2> >(grep -v '^WARNING: Location' >&2)
	@touch $@

.sdc:
	@mkdir -p -m 700 .sdc

.PHONY: demo
demo: $(INSTALLED) | .sdc  ## Make the demo cohort, run the whole pipeline, answer text queries.
	@$(BIN)/sdc demo

.PHONY: stack
stack: $(INSTALLED) | .sdc  ## The services of docker/compose.yaml without containers; ARGS adds options.
	@PYTHONPATH=. $(BIN)/python docker/stack.py $(ARGS)

.PHONY: images
images: $(INSTALLED)  ## Build the images, run compose's services from them once (buildah, podman); ARGS adds options.
	@PYTHONPATH=. nice -n 10 $(BIN)/python docker/images.py $(ARGS)

.PHONY: check
check: $(INSTALLED)  ## Lint and types.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# Two files at a time, each on one thread: threads that spin while they wait would take each other's cores.
# In the order of tests/conftest.py, for files of few tests can take longest.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: test
test: check  ## Lint, types and every test that is quick enough to run always.
	@$(PYTEST) -m "not slow"

.PHONY: test-all
test-all: check  ## Lint, types and every test.
	@$(PYTEST)

.PHONY: test-pythons
test-pythons:  ## The same on each Python of 3.11, 3.12 and 3.13 that is there, in environments of their own.
	@for version in 3.11 3.12 3.13; do \
	    python=$$(python$$version -c 'import sys; print(sys.executable)' 2>/dev/null \
	        || ls -d "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python 2>/dev/null | tail -n 1); \
	    if [ -z "$$python" ]; then echo "Python $$version is not there: left out"; continue; fi; \
	    echo "Python $$version:"; \
	    $(MAKE) --no-print-directory test VENV=.venv-$$version PYTHON="$$python" || exit 1; \
	done

.PHONY: bench
bench: $(INSTALLED)  ## Benchmarks, as ratios measured side by side.
	@$(BIN)/python -m tests.benchmarks

.PHONY: bench-gpu
bench-gpu: $(INSTALLED)  ## Training, reduction and masks at the size of NSD on a GPU; ARGS adds options.
	@$(BIN)/python -m flows.science.benchmark --device cuda $(ARGS)

.PHONY: format
format: $(INSTALLED)  ## Format the code.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: clean
clean:  ## Remove the virtual environment, the demo's catalog and caches.
	@rm -rf .venv .venv-3.* .sdc .mypy_cache .pytest_cache .ruff_cache *.egg-info
