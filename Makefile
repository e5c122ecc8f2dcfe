# Two commands do everything: `make run` serves, `make test` tests. Both build .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# The suite starts the server a hundred times: compile it once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-thorough test-faults servers servers-stop lint clean

run: $(VENV)/.installed
	$(BIN)/python run.py serve

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not thorough and not faults"

test-thorough: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m thorough

# Kills and freezes what `make servers` started.
test-faults: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -s -m faults

# Database servers for the suites that need one, on loopback; what runs already is left alone.
servers: $(VENV)/.installed-dev
	$(BIN)/python -m tests.servers start

servers-stop: $(VENV)/.installed-dev
	$(BIN)/python -m tests.servers stop

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy actors gateway persistence supervision tests benchmarks run.py
	$(BIN)/lint-imports --no-cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Coppice needs Python 3.11 or newer; set PYTHON=…")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV)
