# Two commands: `make demo` shows everything on simulated participants, `make test` checks everything.
# Both set up the environment .venv by themselves. Another Python: make demo PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo
# Acquisition alone runs on 3.10, for labs whose tracker needs tobii-research; the analysis needs 3.11 or 3.12.
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
ifeq ($(VERSION),3.10)
LOCKED := acquisition
CHECKED := tests/test_beholder.py tests/shared tests/experiment tests/crash tests/stimuli \
  beholder/shared beholder/experiment beholder/stimuli --ignore=tests/crash/test_command_kills.py
else
LOCKED := all
CHECKED :=
endif

.PHONY: demo test test-slow lint types bench bench-large bench-primary stimuli locks audit clean python-is-fit

demo: $(VENV)/.analysis
	$(BIN)/beholder demo --out $(DEMO)

# Files of tests run side by side.
test: lint types
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile $(CHECKED)

# Sessions in real time have a turn of their own: those that only compute would take both cores from them.
COMPUTING := tests/analysis tests/crash/test_command_kills.py tests/crash/test_power_cut.py \
  tests/crash/test_publishing_crash.py tests/test_strangers.py tests/experiment/trackers/test_tobii_contract.py
ifeq ($(CHECKED),)
test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile $(COMPUTING)
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile $(COMPUTING:%=--ignore=%)
else
test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow $(CHECKED)
endif

ifeq ($(VERSION),3.10)
lint types: $(VENV)/.dev
	@echo "make $@: on Python 3.11 and 3.12 only, where all packages are"
else
lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy
endif

# The recorder is measured for as many minutes; the display under a virtual screen, where there is no other.
MINUTES ?= 1
# Figures as JSON and a plot; `make bench AGAINST=sweep.json` compares with those of another commit.
BENCH ?= bench
AGAINST ?=
bench: $(VENV)/.dev
	$(BIN)/python tests/benchmarks/bench_sweep.py --json $(BENCH)/sweep.json --plot $(BENCH)/sweep.png \
	  $(if $(AGAINST),--against $(AGAINST))
	$(BIN)/python tests/benchmarks/bench_sweep.py --size 28 --json $(BENCH)/sweep-28.json
	$(BIN)/python tests/benchmarks/bench_sweep.py --size 768x1024 --pictures 2 --oracle-pairs 40 \
	  --json $(BENCH)/sweep-768x1024.json
	$(BIN)/python tests/benchmarks/bench_attention.py --json $(BENCH)/attention.json
	$(BIN)/python tests/benchmarks/bench_start.py --json $(BENCH)/start.json
	$(BIN)/python tests/benchmarks/bench_recorder.py --minutes $(MINUTES)
	$(BIN)/python tests/benchmarks/bench_display.py

# A thousand participants, 200 pictures, 144 heads: half an hour on two cores, 4 GB of disk.
bench-large: $(VENV)/.dev
	$(BIN)/python tests/benchmarks/bench_large.py --json $(BENCH)/large.json

# Which measure a new study begins with: 1,188 simulated studies, some six minutes on one core.
bench-primary: $(VENV)/.dev
	$(BIN)/python tests/benchmarks/bench_primary.py --json $(BENCH)/primary.json

stimuli: $(VENV)-stimuli/.made
	$(VENV)-stimuli/bin/python -m beholder.stimuli.render $(if $(PREVIEW),--preview --out preview)

# The lists of packages with their hashes, after a change of constraints.txt or of what Beholder asks for.
locks: $(VENV)-supply/.made
	$(VENV)-supply/bin/python locked/lock.py

# What is known against the packages of the lists: pip-audit asks the package index, so this needs the internet. A package
# that it could not ask about counts as a fault.
audit: $(VENV)-supply/.made
	for list in locked/*.txt; do \
	  echo "$$list" && $(VENV)-supply/bin/pip-audit --strict --require-hashes --disable-pip -r "$$list" || exit 1; done

clean:
	rm -rf $(VENV) $(VENV)-stimuli $(VENV)-supply build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# A stamp says which of the environment's parts are there; it is set up again when what it needs has changed.
$(VENV)/.made: | python-is-fit
	$(PYTHON) -m venv $(VENV)
	touch $@

# Everything by its hash but torch, whose build is for the machine: for CPUs alone, or with the CUDA libraries.
$(VENV)/.analysis: pyproject.toml constraints.txt locked/analysis.txt | analysis-python $(VENV)/.made
	$(call install,analysis)
	$(torch-and-stand-in)
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt locked/$(LOCKED).txt | $(VENV)/.made
	$(call install,$(LOCKED))
ifneq ($(LOCKED),acquisition)
	$(torch-and-stand-in)
endif
	touch $@

define install
$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r locked/$(1).txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
endef
define torch-and-stand-in
$(BIN)/python -m pip install --quiet torch torchvision -c constraints.txt
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r locked/stand-in.txt
endef

$(VENV)-supply/.made:
	$(PYTHON) -m venv $(VENV)-supply
	$(VENV)-supply/bin/python -m pip install --quiet uv pip-audit
	touch $@

$(VENV)-stimuli/.made: stimuli/requirements.txt
	$(PYTHON) -m venv $(VENV)-stimuli
	$(VENV)-stimuli/bin/python -m pip install --quiet -r stimuli/requirements.txt
	touch $@

python-is-fit:
	@case "$(VERSION)" in 3.10|3.11|3.12) ;; *) \
	  echo "Beholder needs Python 3.10, 3.11 or 3.12; $(PYTHON) is $(or $(VERSION),not there)." \
	       "Name another: make PYTHON=python3.11"; exit 1;; esac

.PHONY: analysis-python
analysis-python: python-is-fit
	@case "$(VERSION)" in 3.11|3.12) ;; *) \
	  echo "The demo analyses, and that needs Python 3.11 or 3.12; $(PYTHON) is $(VERSION)." \
	       "Try: make demo PYTHON=python3.11"; exit 1;; esac
