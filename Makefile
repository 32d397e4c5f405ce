# Every target sets up what it needs; `make demo` and `make test` work in a fresh clone.
PYTHON ?= python3
PY := .venv/bin/python
PROCESSES ?= 2

# Training is faster where the C library keeps its memory (docs/performance.md; `gnl-jax fit` sees to it by itself).
demo speed: export GLIBC_TUNABLES ?= glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1099511627776:glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1

.PHONY: demo test test-all test-prepare test-browser lint speed clean

.venv/installed: pyproject.toml requirements/dev.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: .venv/installed
	$(PY) experiments/train.py --config=configs/digits.py:0,matched_bank --config.dataset.limit_test=600 --workdir=runs/digits/matched_bank
	$(PY) experiments/train.py --config=configs/digits.py:0,gnl --config.dataset.limit_test=600 --workdir=runs/digits/gnl
	$(PY) experiments/evaluate.py --workdir=runs/digits/gnl,runs/digits/matched_bank --out=runs/digits

# Mostly compiling, which keeps one core busy: a process for each of two cores. Each runs whole groups of tests, in the
# order of tests/conftest.py.
PYTEST := $(PY) -m pytest -n $(PROCESSES) --dist loadgroup --no-loadscope-reorder

# What is told in minutes; the rest (marked `slow`) is the widest network, gradients of whole networks, several
# processes, and stops at every point.
test: .venv/installed
	$(PYTEST) -m "not slow"

test-all: .venv/installed
	$(PYTEST)

# The tests of what only TensorFlow can do (building datasets through its own code), in an environment of their own.
.venv-prepare/installed: pyproject.toml requirements/prepare.txt
	test -x .venv-prepare/bin/python || $(PYTHON) -m venv .venv-prepare
	.venv-prepare/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/prepare.txt
	.venv-prepare/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

test-prepare: .venv-prepare/installed
	.venv-prepare/bin/python -m pytest tests/prepare

# The report as a browser shows it; needs chromium and chromedriver (Debian: chromium, chromium-driver).
test-browser: .venv/installed
	$(PY) -m pytest tests/browser

lint: .venv/installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

speed: .venv/installed
	$(PY) experiments/speed/measure.py

clean:
	rm -rf .venv .venv-prepare runs
