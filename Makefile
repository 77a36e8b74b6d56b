# Everything runs in .venv, which `make install` makes with python3 and remakes only when pyproject.toml changes.
PYTHON ?= python3
WORKERS ?= 2
INSTALLED = .venv/.installed
BIN = .venv/bin

.PHONY: install demo test test-tools lint format docs

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

demo: install
	$(BIN)/python recipes/demo.py

# Two processes of one thread are faster than one process of two. A file's fixtures are made once, since one process
# takes the whole file; tests/conftest.py puts the files that take long first.
test: install test-tools
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# A browser and a database server for the web pages' tests, which are skipped where neither can be had.
test-tools:
	@if command -v chromium >/dev/null && ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		timeout 120 apt-get update -qq && timeout 600 apt-get install -y -qq --no-install-recommends chromium postgresql >/dev/null \
			|| echo "no chromium or postgresql: the tests that need them are skipped"; \
	else echo "install chromium and postgresql to run the tests of the web pages"; fi

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: install
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

# The tutorials are executed; a warning is an error. Open docs/_build/html/index.html.
docs: install
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q -j $(WORKERS) -b html docs docs/_build/html
