# Two commands on a fresh machine: `make demo` and `make test`. Each makes the environment it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One more than there are processors: system tests wait more than they compute.
JOBS ?= $(shell expr $$(nproc) + 1)
RUNS ?= 1000000
MINUTES ?= 60
KILLS ?= 100
RATE ?= 2000
CASES ?= beijing wisdm occupancy elec2 skab nab

.PHONY: demo test check format fuzz bench soak faults kills endure clean
.DEFAULT_GOAL := help

help:
	@printf 'make demo    the whole loop on this machine: sensors, learning, federation, release\n'
	@printf 'make test    all tests\n'
	@printf 'make check   format, lint, types and import contracts\n'
	@printf 'make fuzz    a million made-up messages through the agent'\''s cores\n'
	@printf 'make bench   the benchmarks, side by side with their peers\n'
	@printf 'make soak    an agent under load for an hour: does it grow, does it lose anything\n'
	@printf 'make faults  an agent killed a hundred times, and all else that may befall it\n'
	@printf 'make kills   a coordinator killed fifty times, and its PostgreSQL ten times, and the books\n'
	@printf 'make endure  a federation of four devices for an hour, through restarts of every part\n'
	@printf 'make format  put the code into its format\n'

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Headwater needs Python 3.11 or newer; set PYTHON=python3.11 (or newer).'; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo 'Python cannot make environments: install python3-venv.'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --group dev --editable '.[all]'
	@touch $@

demo: $(READY)
	$(BIN)/headwater demo

test: $(READY)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fuzz: $(READY)
	$(BIN)/python -m tests.fuzz -runs=$(RUNS)

bench: $(READY)
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.together
	$(BIN)/python -m benchmarks.agent
	$(BIN)/python -m benchmarks.footprint
	$(BIN)/python -m benchmarks.aggregation
	$(BIN)/python -m benchmarks.attacks
	$(BIN)/python -m benchmarks.compression
	$(BIN)/python -m benchmarks.simulation
	for case in $(CASES); do $(BIN)/python -m benchmarks.accuracy $$case || exit 1; done

soak: $(READY)
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES) --rate $(RATE)

faults: $(READY)
	HEADWATER_KILLS=$(KILLS) HEADWATER_STORM=3 $(BIN)/python -m pytest -m '' -n 0 -s tests/system/faults

kills: $(READY)
	HEADWATER_COORDINATOR_KILLS=50 HEADWATER_DATABASE_KILLS=10 $(BIN)/python -m pytest -n 0 -s \
		tests/system/test_coordinator_killed.py tests/system/test_postgresql.py

endure: $(READY)
	HEADWATER_ENDURE_MINUTES=$(MINUTES) $(BIN)/python -m pytest -n 0 -s tests/system/test_endures.py

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
