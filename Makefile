# Everything happens in a virtual environment that these targets make: VENV=.venv unless told otherwise.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# What the tests have run with at most. A build without CUDA is much smaller:
#   make test TORCH="torch --index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch<2.14

# Packages are compiled as they are imported: to compile all that comes takes as long again as to install it.
INSTALL := -m pip install --quiet --no-compile

.PHONY: run test check fuzz test-lowest test-live test-live-older test-live-llama-cpp test-live-sglang test-live-mlx test-browser vectors-live lint accuracy docs format clean

# In as many workers as there are cores, a file in one of them, in the order of tests/conftest.py.
PYTEST := python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder

# What Python has compiled is kept, whatever the environment says: the tests start kvcalc many times.
export PYTHONDONTWRITEBYTECODE :=

run: $(VENV)/.installed  ## install kvcalc and do the main job
	$(BIN)/kvcalc estimate llama-3-70b --batch 32 --context 8192

# Linters run beside the tests: types alone take a minute where nothing of them is kept from before.
test: $(VENV)/.installed-dev  ## install what the tests need and run every check
	$(MAKE) --jobs=2 --no-print-directory test-all lint

# A fifth of the examples of property tests, and of the cases that go the same way with other figures.
check: $(VENV)/.installed-dev  ## run every check that needs neither torch nor a cluster, for work in progress
	$(MAKE) --jobs=2 --no-print-directory test-part lint

.PHONY: test-all test-part
test-all: $(VENV)/.installed-dev
	$(BIN)/$(PYTEST)

test-part: $(VENV)/.installed-dev
	$(BIN)/$(PYTEST) -m "not torch and not cluster" --hypothesis-profile=check

# Every property test with FUZZ times the examples that it states, drawn afresh: before a release, and after work on what they test.
FUZZ ?= 20

fuzz: $(VENV)/.installed-dev  ## look for rare failures, for half an hour or more
	FUZZ=$(FUZZ) $(BIN)/$(PYTEST) --dist worksteal -m hypothesis --hypothesis-profile=fuzz

# The oldest versions that pyproject.toml allows, in a place of their own: what reads files, draws tables and splits the
# command line. `make test-lowest LOWEST_TESTS=tests` runs the rest too. Without torch and transformers, which are large:
# what needs them is left out.
LOWEST := $(VENV)/lowest
LOWEST_TESTS ?= $(patsubst %,tests/%.py,catalogue/test_schema catalogue/test_yaml_reader cli/test_bad_input_files \
	cli/test_cli_process cli/test_repeated_options cli/test_start_up importers/test_hub render/test_narrow_tables test_golden)

test-lowest: $(LOWEST)/.installed  ## run tests with the oldest versions allowed
	$(LOWEST)/bin/$(PYTEST) -m 'not torch' $(LOWEST_TESTS)

$(LOWEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(LOWEST)
	grep -oE '"[a-z-]+>=[0-9.]+"' pyproject.toml | tr -d '"' | sed 's/>=/==/' > $(LOWEST)/floors.txt
	$(LOWEST)/bin/python $(INSTALL) --constraint $(LOWEST)/floors.txt --editable '.[hub,test]'
	touch $@

# The page in a real browser: the system's chromium (CHROMIUM=/path/to/it names another), driven by Playwright from PyPI.
# What an exported page needs of Pyodide and pydantic is downloaded once. It takes about a minute and a half.
BROWSER := $(VENV)/browser

test-browser: $(BROWSER)/.installed
	cd tests/browser && PYODIDE=$(abspath $(BROWSER))/downloads \
		$(abspath $(BROWSER))/bin/python -m pytest -q -p no:cacheprovider -p harness check_*.py

$(BROWSER)/.installed: pyproject.toml
	$(PYTHON) -m venv $(BROWSER)
	$(BROWSER)/bin/python -m pip install --quiet --editable . pytest 'playwright>=1.58,<1.66'
	touch $@

# vLLM's own planner, asked anew on the CPU: its wheel (340 MB, most of it kernels that nothing here runs) without what it
# depends on, and the packages that its imports name, in a place of their own. tests/live says how; `make vectors-live`
# writes what it says into tests/data/vllm.
LIVE := $(VENV)/live
LIVE_VLLM ?= 0.33.0
LIVE_SGLANG ?= 0.5.23
LIVE_SGLANG_VENV := $(VENV)/live-sglang-$(LIVE_SGLANG)
MLX_LM ?= 0.32.2
LIVE_MLX := $(VENV)/live-mlx-$(MLX_LM)

test-live: $(LIVE)/.installed test-live-llama-cpp test-live-sglang test-live-mlx
	$(LIVE)/bin/python -m pytest -q -W default -p no:cacheprovider tests/live/check_vllm.py tests/live/check_launch.py

# The planners of older versions, of which the Python files alone are taken. 0.19 was made for an older transformers.
LIVE_OLDER ?= 0.19.0 0.26.0 0.29.0 0.31.0 0.32.0
LIVE_PACKAGES := $(abspath $(LIVE))/packages

test-live-older: $(LIVE)/.installed
	$(LIVE)/bin/python -m pip install --quiet --no-deps --target $(LIVE_PACKAGES)/any gguf pycountry httpx httpcore
	$(LIVE)/bin/python -m pip install --quiet --no-deps --target $(LIVE_PACKAGES)/0.19.0 'transformers==5.5.*' 'huggingface_hub<2' 'tokenizers==0.22.*'
	failed=; for version in $(LIVE_OLDER); do \
		$(LIVE)/bin/python -m pip download --quiet --no-deps --only-binary :all: --dest $(LIVE)/wheels "vllm==$$version" && \
		unzip -q -o -d $(LIVE)/vllm-$$version $(LIVE)/wheels/vllm-$$version-*.whl '*.py' && \
		PYTHONPATH=$(abspath $(LIVE))/vllm-$$version:$(LIVE_PACKAGES)/$$version:$(LIVE_PACKAGES)/any $(LIVE)/bin/python -m pytest -q -W default \
			-p no:cacheprovider tests/live/check_vllm.py -k 'still_says or never_kept' || failed="$$failed $$version"; \
	done; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

vectors-live: $(LIVE)/.installed $(VENV)/.installed-dev $(LIVE_SGLANG_VENV)/.installed $(LIVE_MLX)/.installed
	$(LIVE)/bin/python tests/live/write_vllm_vectors.py
	$(LIVE)/bin/python tests/live/write_vllm_weights.py
	$(BIN)/python tests/live/write_llama_cpp_vectors.py
	PYTHONPATH=tests $(LIVE_SGLANG_VENV)/bin/python tests/live/write_sglang_plans.py
	PYTHONPATH=tests/engines $(LIVE_MLX)/bin/python tests/live/write_mlx_vectors.py

# llama.cpp b11549 (34 MB), which plans whole models without weights for a card that is not there.
test-live-llama-cpp: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/live/check_llama_cpp.py

# A wheel of SGLang (39 MB): its server's arguments and its planner of pools are run, without its kernels.
test-live-sglang: $(LIVE_SGLANG_VENV)/.installed
	SGLANG_WHEEL=$$(ls $(abspath $(LIVE_SGLANG_VENV))/sglang-$(LIVE_SGLANG)-*.whl) \
		$(LIVE_SGLANG_VENV)/bin/python -m pytest -q -W default -p no:cacheprovider tests/live/check_sglang.py

# mlx_lm's own caches, filled by small models on the CPU (141 MB).
test-live-mlx: $(LIVE_MLX)/.installed
	$(LIVE_MLX)/bin/python -m pytest -q -W default -p no:cacheprovider tests/live/check_mlx.py

$(LIVE_SGLANG_VENV)/.installed: tests/live/sglang-requirements.txt
	$(PYTHON) -m venv $(LIVE_SGLANG_VENV)
	$(PYTHON) -m pip download --quiet --no-deps --only-binary :all: --dest $(LIVE_SGLANG_VENV) 'sglang==$(LIVE_SGLANG)'
	$(LIVE_SGLANG_VENV)/bin/python -m pip install --quiet --requirement tests/live/sglang-requirements.txt
	$(LIVE_SGLANG_VENV)/bin/python -m pip install --quiet --no-deps $(LIVE_SGLANG_VENV)/sglang-$(LIVE_SGLANG)-*.whl
	$(LIVE_SGLANG_VENV)/bin/python -m pip install --quiet --editable . pytest
	touch $@

$(LIVE_MLX)/.installed:
	$(PYTHON) -m venv $(LIVE_MLX)
	$(LIVE_MLX)/bin/python -m pip install --quiet 'mlx[cpu]' 'mlx-lm==$(MLX_LM)' --editable . pytest
	touch $@

$(LIVE)/.installed: tests/live/requirements.txt
	$(PYTHON) -m venv $(LIVE)
	$(LIVE)/bin/python -m pip install --quiet --requirement tests/live/requirements.txt
	$(LIVE)/bin/python -m pip install --quiet --no-deps 'vllm==$(LIVE_VLLM)'
	$(LIVE)/bin/python -m pip install --quiet --editable . pytest
	touch $@

# Several at a time where `make -j` says so.
LINTERS := lint-types lint-spelling lint-contracts lint-style
.PHONY: $(LINTERS)

lint: $(LINTERS)

lint-types: $(VENV)/.installed-dev
	$(BIN)/mypy

lint-spelling: $(VENV)/.installed-dev
	$(BIN)/codespell

lint-contracts: $(VENV)/.installed-dev
	$(BIN)/lint-imports --no-cache

lint-style: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

accuracy: $(VENV)/.installed  ## write docs/accuracy.md anew
	$(BIN)/python benchmarks/accuracy.py --write

docs: $(VENV)/.installed  ## build the documentation as a site in build/site
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

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
	$(BIN)/python $(INSTALL) $(if $(findstring --,$(TORCH)),$(TORCH),'$(TORCH)')
	$(BIN)/python $(INSTALL) --editable '.[dev]'
	$(BIN)/python -m compileall -q kvcalc
	touch $@
