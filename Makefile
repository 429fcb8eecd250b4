# make demo: the whole path on built-in pictures.  make test: lint, types and tests.
# make report: the analyses, in small, and one page of them.  make docs: the user guide.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo report docs test lint types tests install clean

demo: $(VENV)/.installed
	$(BIN)/cnnperception demo

report: $(VENV)/.installed
	$(BIN)/python analyses/performance_gap.py --quick
	$(BIN)/python analyses/texture_layers.py --quick
	$(BIN)/cnnperception report

docs: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/mkdocs build --strict

test: lint types tests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

tests: $(VENV)/.installed-dev
	# One thread a worker: threads of several workers on one core wait for each other.
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadscope

install: $(VENV)/.installed

$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; found " + sys.version.split()[0] + ". Use: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
