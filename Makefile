# `make help` lists the commands. Nothing is kept outside this folder: delete .venv to begin again.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=

.PHONY: help serve test unit lint bench clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(VENV)/pip: 
	@command -v $(PYTHON) >/dev/null || { echo "Penstock needs Python 3.11 or newer; say which with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/serve: $(VENV)/pip pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e . 
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps 'chdb-core>=26.9'
	@touch $@

$(VENV)/test: $(VENV)/serve
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

serve: $(VENV)/serve  ## install into .venv and run the proxy with the embedded store (ARGS="--port 4200")
	$(BIN)/penstock serve $(ARGS)

test: $(VENV)/test  ## install what the tests need and run all of them (ARGS="-k spool")
	$(BIN)/python -m pytest $(ARGS)

unit: $(VENV)/test  ## only the tests without sockets
	$(BIN)/python -m pytest tests/unit $(ARGS)

lint: $(VENV)/test  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/test  ## print the speed table: each figure a ratio to a baseline of the same run
	$(BIN)/python -m tests.bench $(ARGS)

clean:  ## remove what the commands above made
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
