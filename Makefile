# Everything sets itself up: the first target that needs the environment makes it.
.DEFAULT_GOAL := help
.PHONY: help demo test check lint types fast soak bench operations corpus docs clean

# What is compiled is kept, whatever the shell says: tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

demo: $(VENV)/.ready ## a conversation that a second process remembers
	@$(BIN)/clew demo

test: $(VENV)/.ready ## the whole suite
	@sh tools/servers.sh
	@$(BIN)/pytest -n auto

check: $(VENV)/.ready ## lint, types, layers, sizes and the fast tests
	@$(MAKE) --no-print-directory -j lint types fast

lint:
	@$(BIN)/ruff check . && $(BIN)/ruff format --check -q .
	@$(BIN)/lint-imports --no-cache >$(VENV)/layers.txt && echo "layers: kept" || { cat $(VENV)/layers.txt; exit 1; }
	@$(BIN)/python tools/sizes.py src tests tools bench examples

types:
	@$(BIN)/pyright

fast:
	@if sh tools/servers.sh; then $(BIN)/pytest -n auto -m "not slow"; \
		else echo "Left out here: the tests that need them."; $(BIN)/pytest -n auto -m "not slow and not server"; fi

soak: $(VENV)/.ready ## what takes minutes: many writers, many bytes, killed connections, a fuzzed decoder
	@sh tools/servers.sh
	@$(BIN)/python tests/soak/run.py $(ONLY)

bench: $(VENV)/.ready ## side by side with LangGraph, in one run
	@$(BIN)/python bench/run.py $(ARGS)

operations: $(VENV)/.ready ## what scenes that matter do, counted and written anew
	@sh tools/servers.sh
	@cd tests && ../$(BIN)/python -m support.operations --write

corpus: $(VENV)/.ready ## the example graphs on Clew and on LangGraph, recorded anew and compared
	@$(BIN)/python tests/corpus/run.py compare --record

docs: $(VENV)/.ready ## runs every example of the documentation
	@$(BIN)/pytest tests/test_docs.py tests/test_guide.py

clean: ## away with everything that was made
	rm -rf $(VENV) .bench-venv .langgraph-*venv .langgraph-*venv.lock .pytest_cache .ruff_cache .hypothesis dist build

# uv is used where it is there, for speed; pip does as well.
$(VENV)/.ready: pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "Clew needs Python 3.11 or newer, and there is none on the PATH."; \
		echo "On Debian or Ubuntu, ask an administrator for: apt-get install python3 python3-venv"; \
		echo "Or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; fi
	@echo "Setting up $(VENV) with $(PYTHON) (once; about a minute) ..."
	@$(PYTHON) -m venv $(VENV) >$(VENV).log 2>&1 || { cat $(VENV).log; rm -rf $(VENV) $(VENV).log; \
		echo "Python has no venv here. On Debian or Ubuntu, ask an administrator for: apt-get install python3-venv"; exit 1; }
	@rm -f $(VENV).log
	@if command -v uv >/dev/null 2>&1; then uv pip install -q --python $(BIN)/python -e '.[dev,cli]'; \
		else $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev,cli]'; fi
	@touch $@
