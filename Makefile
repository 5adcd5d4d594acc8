# Every target sets itself up: the virtual environment in .venv, installed from the lock, made anew when the lock changes.
# PY chooses the interpreter (3.11 to 3.13), SCENARIO the demo's story.

PY ?= python3
SCENARIO ?=
READY := .venv/.ready
BIN := .venv/bin
# A file's tests share its servers, so a file stays in one process; and many tests wait, so there are more processes than processors.
PYTEST := $(BIN)/pytest -q -n 4 --dist loadfile --no-loadscope-reorder

# Tests start hundreds of programs, each of which would be compiled again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check test-real bench bench-downtime docs fix lock

help: ## Say what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

$(READY): requirements-dev.txt pyproject.toml sdk/pyproject.toml
	@echo "Setting up .venv (once, and again when the lock changes)"
	@$(PY) -c 'import sys; assert sys.version_info >= (3, 11), f"Rampgate needs Python 3.11 or newer, this is {sys.version.split()[0]}: make PY=python3.12 ..."'
	@$(PY) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e sdk -e .
	@touch $@

demo: $(READY) ## Three releases of a small shop, end to end; SCENARIO=healthy|broken|killed|crashed|aborted|blue-green runs one
	@$(BIN)/python -m examples.demo $(SCENARIO)

test: $(READY) ## Every test that needs nothing but Python and its packages
	@$(PYTEST) tests --ignore=tests/real --ignore=tests/container

check: $(READY) ## Lint, types, floors, workflows, images, and the house tests
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check-files
	@$(PYTEST) tests/house

test-real: $(READY) ## Tests against real programs: Prometheus, InfluxDB, Graphite, nginx, HAProxy, Caddy, Traefik, Chromium, Node.js, a container engine
	@scripts/real-programs
	@$(BIN)/pytest -q tests/real tests/container

build/bench/.ready: bench/requirements.txt bench/peers/install.py $(READY)
	@echo "Setting up build/bench: the SDKs that ours is measured against"
	@$(BIN)/python bench/peers/install.py
	@touch $@

bench: build/bench/.ready ## Measure what the README claims, as ratios in one run
	@missed=; for file in bench/*_bench.py; do \
	  echo "== $$file"; PYTHONPATH=. $(BIN)/python "$$file" || missed="$$missed $$file"; done; \
	  if [ -n "$$missed" ]; then echo "Not all bounds are held:$$missed"; exit 1; fi

bench-downtime: $(READY) ## Measure that switching costs no request; writes the tables of docs/zero-downtime.md (about 5 minutes)
	@$(BIN)/python -m bench.downtime

docs: $(READY) ## Write the pages that are made from the code
	@$(BIN)/python -m docs.state_machine

fix: $(READY) ## Let ruff mend what it can
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lock: $(READY) ## Resolve the dependencies anew into the requirements files
	@scripts/lock $(BIN)/uv
