# Crosswalk: everything a person or a machine does with the repository.
# A line of the form "target: ## text" appears in `make help`.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UV_VERSION = $(shell sed -n 's/^uv==//p' requirements.txt)
CODE := $(wildcard include tests demo bench dags plugins)
# The longest files come first, so that both workers end at the same time.
TESTS := $(wildcard tests/test_*.py tests/faults tests/system tests/acceptance tests/properties tests/conformance tests/security tests/unit)

# Airflow starts 3 s slower per process without compiled bytecode.
unexport PYTHONDONTWRITEBYTECODE
# Nothing here needs a terminal, a proxy or a user's own Airflow settings.
unexport AIRFLOW_HOME

.PHONY: help install demo stop run test check format bench campaign lock clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make the virtual environment in .venv with everything pinned (once).

$(STAMP): requirements.txt pyproject.toml
	@python=""; \
	for candidate in $${PYTHON:-} python3.11 python3.12 python3; do \
	  if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then \
	    python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Crosswalk needs Python 3.11 or 3.12. Install one, or name it: make install PYTHON=/path/to/python3.11" >&2; exit 1; fi; \
	if ! "$(BIN)/python" -c '' 2>/dev/null; then \
	  echo "Making $(VENV) with $$("$$python" --version)"; "$$python" -m venv --clear $(VENV); fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	@echo "Installing the packages of requirements.txt (a minute or two the first time)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -r requirements.txt \
	  || { echo "uv could not install them; trying pip, which may be set up for another index"; \
	       $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt; }
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e . \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $(STAMP)

demo: install ## Show it all: messy files, SFTP, Airflow, the store, an export, an undo, a mail; leaves Airflow running.
	@$(BIN)/python -m demo up

stop: ## Stop what `make demo` or `make run` left running.
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m demo stop; else echo "Nothing was installed, so nothing runs."; fi

run: install ## Start Airflow on loopback with your own connections (dags/connections); stop with make stop.
	@$(BIN)/python -m demo own

test: install ## Run the tests (under 15 minutes on 2 cores); TESTS=tests/unit for a part.
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not campaign" $(TESTS)

check: install ## Check format, lint, types, imports and secrets.
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/python -m pytest tests/test_architecture.py tests/test_repository.py

format: install ## Format the code.
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --fix --quiet $(CODE)

bench: install ## Measure speed and memory; prints ratios (see docs/performance.md).
	@$(BIN)/python -m bench

campaign: install ## Run the long fault campaign (hours; see docs/reliability.md).
	@CROSSWALK_SEARCH=1 $(BIN)/python -m pytest -m campaign tests --timeout 14400

lock: install ## Pin every package again, from requirements.in to requirements.txt.
	@$(BIN)/uv pip compile --quiet --python $(BIN)/python --no-header --no-emit-index-url --no-emit-find-links \
	  --upgrade requirements.in --output-file requirements.txt

clean: stop ## Remove the demo's and Airflow's state; keeps .venv and .crosswalk.
	@rm -rf .demo .airflow .mypy_cache .ruff_cache .hypothesis
