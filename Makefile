# make run: install, measure, report.  make test: the default tests.  PIP_ARGS passes through to pip.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP_ARGS ?=
RUN_ARGS ?= --suite vision --hw all

.PHONY: run install arm test test-slow test-packages check bench report clean

run: install
	$(BIN)/qbench run $(RUN_ARGS)

install: $(VENV)/.installed

# torch comes first and alone: with the pinned build in place, nothing later draws another one in.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "qbench needs Python 3.11 or newer; found: $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(PIP_ARGS) -c constraints.txt torch
	$(BIN)/pip install --quiet $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	touch $@

# an emulated ARM device beside this machine: qbench finds it in its cache folder
arm:
	tools/setup_arm.sh

test: install
	$(BIN)/python -m pytest -q

test-slow: install
	$(BIN)/python -m pytest -q -m 'slow and not gpu and not network and not packages'

# what others' quantizers make of trained networks of public packages, beside what qbench recommends
test-packages: install
	$(BIN)/python -m pytest -q -m packages tests/foreign

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

bench: install
	$(BIN)/python -m pytest -q benchmarks --benchmark-enable --benchmark-only

report: install
	$(BIN)/qbench report

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
