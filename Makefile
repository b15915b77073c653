# Everything here works on a machine that has python3 (3.11 or newer) and make, and nothing else:
# each target creates .venv and installs what it needs first.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Much of the suite waits for real processes, so a few test modules run side by side, whatever the
# machine; a module's own tests stay in order and in one process. One after another: TEST_PROCESSES=0
TEST_PROCESSES ?= 3

.DEFAULT_GOAL := help
.PHONY: help up down test check lint types imports bench clean

help:  ## Show this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(VENV)/installed-core  ## Run the whole bus with a simulated market (Ctrl-C stops it)
	$(BIN)/mdbus up $(ARGS)

down:  ## Stop a bus started with `make up ARGS=--detach`
	@if [ -x $(BIN)/mdbus ]; then $(BIN)/mdbus down $(ARGS) || [ $$? = 4 ]; \
	  else echo "mdbus is not installed here (no $(BIN)/mdbus): nothing of this checkout runs"; fi

test: $(VENV)/installed-dev  ## Run the whole test suite
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile $(ARGS)

check: lint types imports test  ## Lint, types, import contracts, then the whole test suite

lint: $(VENV)/installed-dev  ## Style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev  ## Types
	$(BIN)/mypy

imports: $(VENV)/installed-dev  ## Import contracts
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/installed-dev  ## Measure broker, feeds, books, capture, fan-out, latency and supervision here
	$(BIN)/python -m bench.broker
	$(BIN)/python -m bench.feeds
	$(BIN)/python -m bench.book
	$(BIN)/python -m bench.capture
	$(BIN)/python -m bench.symbols
	$(BIN)/python -m bench.latency
	$(BIN)/python -m bench.fanout --servers mdbus,floor,picows,websockets --clients 100,1000
	$(BIN)/python -m bench.supervision

clean:  ## Remove the virtual environment and every cache; not while a bus runs from it
	@if [ -x $(BIN)/mdbus ] && $(BIN)/mdbus status $(ARGS) >/dev/null 2>&1; then \
	  echo "a bus is running, and needs $(VENV) to restart its processes: make down first" >&2; exit 1; fi
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "mdbus needs Python 3.11 or newer; '$(PYTHON)' is not. Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "python could not make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/installed-core: $(BIN)/python pyproject.toml
	@echo "installing mdbus into $(VENV) ..."
	@$(PIP) install -e .
	@touch $@

$(VENV)/installed-dev: $(BIN)/python pyproject.toml
	@echo "installing mdbus and its development tools into $(VENV) ..."
	@$(PIP) install -e '.[dev]'
	@touch $@ $(VENV)/installed-core
