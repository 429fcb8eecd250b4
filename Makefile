# make demo: the whole path on built-in pictures.  make test: lint, types and tests.
# make report: the analyses, in small, and one page of them in reports/quick; with DATA=FOLDER, the
# files of the 92 object images, also the one against human IT.  make docs: the user guide.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
QUICK := reports/quick
STUDIES := ablations performance_gap tolerance object_information naturalness model_similarity \
	texture_layers style_transfer_grid metamers controversial $(if $(DATA),it_geometry)

.PHONY: demo report docs test lint types tests install clean

demo: $(VENV)/.installed
	$(BIN)/cnnperception demo

# Two studies at a time, each on one core.
report: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(MAKE) --jobs 2 $(STUDIES:%=study-%)
	$(BIN)/cnnperception report --reports $(QUICK)

study-%: $(VENV)/.installed
	$(BIN)/python analyses/$*.py --quick --output $(QUICK)/$*

study-it_geometry: $(VENV)/.installed
	$(BIN)/python analyses/it_geometry.py --quick --output $(QUICK)/it_geometry --data $(DATA)

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
