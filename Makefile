# Everything runs in .venv, which `make install` makes with python3 and remakes only when pyproject.toml changes.
PYTHON ?= python3
WORKERS ?= 2
INSTALLED = .venv/.installed
BIN = .venv/bin

.PHONY: install demo test lint format

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

demo: install
	$(BIN)/python recipes/demo.py

# Two processes of one thread are faster than one process of two.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format
