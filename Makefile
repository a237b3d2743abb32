# Everything happens in a virtual environment that these targets make: VENV=.venv unless told otherwise.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# What the tests have run with at most. A build without CUDA is much smaller:
#   make test TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch<2.14

.PHONY: run test check lint format clean

run: $(VENV)/.installed  ## install kvcalc and do the main job
	$(BIN)/kvcalc estimate llama-3-70b --batch 32 --context 8192

test: $(VENV)/.installed-dev lint  ## install what the tests need and run every check
	$(BIN)/python -m pytest -q

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	$(BIN)/python -m compileall -q kvcalc
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet $(if $(findstring --,$(TORCH)),$(TORCH),'$(TORCH)')
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m compileall -q kvcalc
	touch $@
