# Every target sets up what it needs; `make demo` and `make test` work in a fresh clone.
PYTHON ?= python3
PY := .venv/bin/python
PROCESSES ?= 2
GNL := .venv/bin/gnl-jax
# Of the example product, for the demo: the folders of its two lamps.
PLATES_A := runs/plates/images/lamp_a
PLATES_B := runs/plates/images/lamp_b

# Python keeps what it has compiled, whatever the environment says: the tests and the demo start many processes.
export PYTHONDONTWRITEBYTECODE :=

# Training on small images is faster where the C library keeps its memory (docs/performance.md; `gnl-jax fit` does it too).
demo speed: export GLIBC_TUNABLES ?= glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1099511627776:glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1

.PHONY: demo test test-all test-prepare test-browser lint docs results speed clean

.venv/installed: pyproject.toml requirements/dev.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: .venv/installed
	@echo; echo "== Digits, 1 of 3: a memory bank of real handwritten zeros"
	$(PY) experiments/train.py --config=configs/digits.py:0,matched_bank --workdir=runs/digits/matched_bank
	@echo; echo "== Digits, 2 of 3: the paper's method, GNL, trained on the same zeros"
	$(PY) experiments/train.py --config=configs/digits.py:0,gnl --workdir=runs/digits/gnl
	@echo; echo "== Digits, 3 of 3: 364 test digits, as they are and under five shifts; with and without matching"
	$(PY) experiments/evaluate.py --workdir=runs/digits/gnl,runs/digits/matched_bank --out=runs/digits
	@rm -rf runs/plates && mkdir -p runs/plates
	@echo; echo "== Plates, 1 of 6: photographs of machined plates, good and defective, under two lamps"
	$(GNL) example runs/plates/images --size 192 --good 100 --test-good 24 --defects 6 --new-good 40
	@echo; echo "== Plates, 2 of 6: a detector from 100 good plates: 61 are learned from, 39 set the thresholds"
	$(GNL) fit $(PLATES_A)/train/good --size 128 --calibration 39 --ng 2.5% --review 10% --out runs/plates/plate.gnl
	@echo; echo "== Plates, 3 of 6: decisions on plates that it has not seen, half of them defective"
	$(GNL) score runs/plates/plate.gnl $(PLATES_A)/test --out runs/plates/decisions.csv --html runs/plates/decisions.html
	@echo; echo "== Plates, 4 of 6: what a brighter lamp, noise and the new lamp do to it"
	$(GNL) shift runs/plates/plate.gnl --good $(PLATES_A)/test/good --bad $(PLATES_A)/test --shifted lamp_b=$(PLATES_B)/test \
	    --families gain_up,gaussian_noise --severities 3 --out runs/plates/shift.html
	@echo; echo "== Plates, 5 of 6: thresholds for the new lamp, from 40 good plates under it; written whatever the verdict"
	$(GNL) recalibrate runs/plates/plate.gnl --good $(PLATES_B)/train/good --bad $(PLATES_B)/test \
	    --condition "lamp replaced" --force --out runs/plates/plate_lamp_b.gnl
	$(PY) experiments/lamp_picture.py --out=runs/plates/lamps.jpg --row="photograph=:$(PLATES_A)/test" \
	    --row="as fitted=runs/plates/plate.gnl:$(PLATES_A)/test" \
	    --row="new lamp=runs/plates/plate.gnl:$(PLATES_B)/test" \
	    --row="recalibrated=runs/plates/plate_lamp_b.gnl:$(PLATES_B)/test"
	@echo; echo "== Plates, 6 of 6: one ONNX model, compared with the detector before it is written"
	$(GNL) export runs/plates/plate_lamp_b.gnl --format onnx --images $(PLATES_B)/train/good --limit 4 \
	    --out runs/plates/plate_lamp_b.onnx
	@echo; echo "Look at:"
	@echo "  runs/plates/lamps.jpg        the same plates under both lamps, and what is decided on them"
	@echo "  runs/plates/decisions.html   every plate of the test, by rank, with its score map"
	@echo "  runs/plates/shift.html       can it run on the line? the verdict, and each change of light"
	@echo "  runs/digits/scores.png       scores of zeros and other digits under each shift"
	@echo "  runs/digits/gallery.png      digits with their score maps"

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
	$(PY) -m mypy

# The site, in build/docs/index.html: it needs no server and no network.
.venv-docs/installed: pyproject.toml requirements/docs.txt
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/docs.txt
	touch $@

docs: .venv-docs/installed
	.venv-docs/bin/python -m sphinx --fail-on-warning --keep-going --quiet docs build/docs

# Whether the tables of docs/results.md are those of the results in docs/results/.
results: .venv/installed
	$(PY) experiments/result_tables.py --check

speed: .venv/installed
	$(PY) experiments/speed/measure.py

clean:
	rm -rf .venv .venv-prepare .venv-docs build runs
