# Everything here needs Python 3.11+ and make, nothing else. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
ifeq ($(origin PATH),undefined)
export PATH := /usr/local/bin:/usr/bin:/bin
endif

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := platform,engines,video,bench,dev
TESTS := unit contract integration acceptance architecture chaos

# More for pytest, for example: make test-unit PYTEST_ARGS='-k clock -n 2'
PYTEST_ARGS ?=
# More for the benchmarks, for example: make bench BENCH_ARGS='--quick'
BENCH_ARGS ?=
# More for the broker, for example: make kafka KAFKA_ARGS='--brokers 3'
KAFKA_ARGS ?=

# A Python that can make our .venv, or nothing. Choose another one with: make setup PYTHON=...
PYTHON ?=
define find_python
for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
    then break; fi; \
    python=; \
done; \
if [ -z "$$python" ]; then \
    echo "blueengine needs Python 3.11 or newer with venv and ensurepip; none found on PATH." >&2; \
    echo "Install one (Debian: apt-get install python3 python3-venv), or: make setup PYTHON=/path/to/python" >&2; \
    exit 1; \
fi
endef
PIP_QUIET := --quiet --disable-pip-version-check --no-input

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# ---- set-up -----------------------------------------------------------------------------------

.PHONY: setup
setup: $(STAMP) ## make .venv with everything the other targets need (does nothing when it is there)
	@:

$(STAMP): pyproject.toml constraints.txt
	@rm -f $@
	@if ! $(BIN)/python -c 'import pip' >/dev/null 2>&1; then \
	    $(find_python); \
	    echo "setup: making $(VENV) with $$("$$python" --version)"; \
	    rm -rf $(VENV); \
	    "$$python" -m venv $(VENV); \
	fi
	@echo "setup: installing blueengine[$(EXTRAS)] (a minute when nothing is cached)"
	@$(BIN)/python -m pip install $(PIP_QUIET) --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@
	@echo "setup: done"

.PHONY: constraints
constraints: ## renew constraints.txt: the newest versions that pyproject.toml allows
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(find_python); \
	echo "constraints: installing the newest versions into a scratch environment"; \
	"$$python" -m venv "$$scratch/venv"; \
	"$$scratch/venv/bin/python" -m pip install $(PIP_QUIET) --upgrade setuptools; \
	"$$scratch/venv/bin/python" -m pip install $(PIP_QUIET) --editable '.[$(EXTRAS)]'; \
	{ sed -n '/^#/p' constraints.txt; \
	  "$$scratch/venv/bin/python" -m pip freeze --all --exclude-editable --disable-pip-version-check \
	    | grep -E '^[A-Za-z0-9._-]+==' | grep -v '^pip==' | LC_ALL=C sort -f; } > "$$scratch/new"; \
	cp "$$scratch/new" constraints.txt; \
	echo "constraints: $$(grep -c == constraints.txt) packages pinned; now: make setup lint test"

# ---- use --------------------------------------------------------------------------------------

.PHONY: demo
demo: setup ## run the platform and a real three-engine OCR session on it
	@$(BIN)/blueengine demo

.PHONY: kafka
kafka: setup ## run a Kafka broker here (KAFKA_ARGS='--brokers 3 --port 9092'); Ctrl-C ends it
	@$(BIN)/python -m tests.kit.kafka $(KAFKA_ARGS)

.PHONY: bench
bench: setup ## run the benchmarks: a table, and JSON
	@$(BIN)/python -m bench $(BENCH_ARGS)

# ---- check ------------------------------------------------------------------------------------

.PHONY: test
test: setup ## run every test, against real servers
	@$(BIN)/python -m pytest tests $(PYTEST_ARGS)

TEST_TARGETS := $(addprefix test-,$(TESTS))
.PHONY: $(TEST_TARGETS)
test-unit: ## rules and single parts: no input or output, virtual time
test-contract: ## one suite per port, against each of its implementations
test-integration: ## parts against real servers
test-acceptance: ## the whole platform over REST, with real engines
test-architecture: ## import rules, Lua headers, docs, what is tracked
test-chaos: ## kill, pause and restart parts; nothing is lost
$(TEST_TARGETS): test-%: setup
	@$(BIN)/python -m pytest tests/$* $(PYTEST_ARGS)

# Which cases the fuzzer makes, for example: make test-fuzz FUZZ_ARGS='--examples 500 --seed 7'
FUZZ_ARGS ?=

.PHONY: test-fuzz
test-fuzz: setup ## thousands of requests made from the OpenAPI document; no 5xx, no other shape
	@$(BIN)/python -m tests.kit.fuzz $(FUZZ_ARGS)

.PHONY: openapi
openapi: setup ## renew docs/openapi.json, which a test holds
	@$(BIN)/python scripts/write_openapi.py

.PHONY: coverage
coverage: setup ## run every test and show which lines and branches none of them took
	@rm -f .coverage .coverage.*
	@$(BIN)/coverage run -m pytest tests $(PYTEST_ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --show-missing --skip-covered

.PHONY: lint
lint: setup ## formatter, linter, type checkers, import rules
	@echo "lint: ruff format"; $(BIN)/ruff format --check --quiet . || \
	    { echo "lint: not formatted; run: make fmt" >&2; exit 1; }
	@echo "lint: ruff check"; $(BIN)/ruff check --quiet .
	@$(MAKE) types
	@echo "lint: import rules"; $(BIN)/lint-imports --no-logo

.PHONY: types
types: setup ## both type checkers: mypy on all packages, pyright on the SDK
	@echo "types: mypy"; $(BIN)/mypy
	@echo "types: pyright"; $(BIN)/pyright

.PHONY: fmt
fmt: setup ## format, and mend what the linter can mend
	@$(BIN)/ruff check --quiet --fix-only --exit-zero .
	@$(BIN)/ruff format .

.PHONY: clean
clean: ## remove everything that make and the tools have made, .venv too
	@rm -rf $(VENV) .venv-bench build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache \
	    .hypothesis .coverage .coverage.* htmlcov
	@find . -name __pycache__ -type d -prune -not -path './.git/*' -exec rm -rf {} +
