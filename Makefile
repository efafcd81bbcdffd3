# `make demo` runs the main job, `make test` passes the tests. Both do all their own set-up on a machine that has
# root, python3, make and git.

VENV ?= .venv
BIN := $(VENV)/bin
COVERED := 84
PYTEST := $(BIN)/python -m pytest -q
# haproxy and sshd are there, which a user's PATH leaves out.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

.PHONY: demo test lint unit coverage lowest labs lab machines faults kills more attacks table reference setup clean

demo: setup
	$(BIN)/deploy demo

test: lint unit labs
	@echo "all green"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: setup
	$(PYTEST) -n 2 tests/unit
	PYTHONPATH=$(VENV)/oldest $(PYTEST) -W default -n 2 tests/unit/report tests/unit/cli/test_cli_help.py tests/unit/cli/test_cli_mistakes.py tests/unit/cli/test_cli_first_steps.py

# How much of the code the unit tests run, and which lines they leave out. It fails below what is reached today.
coverage: setup
	$(PYTEST) -n 2 --cov --cov-report=term --cov-report=html --cov-fail-under=$(COVERED) tests/unit

# Everything by the lowest versions of its dependencies that pyproject.toml allows, in a virtualenv of its own. Old
# versions may use what a new Python warns about: there a warning is no error.
lowest: setup
	$(BIN)/uv venv -q --clear --seed $(VENV)/lowest
	$(BIN)/uv pip install -q --python $(VENV)/lowest --resolution lowest-direct --editable . --group dev
	$(VENV)/lowest/bin/python -m pytest -q -W default -n 2 tests/unit

# Most of what these do is wait for drains and deadlines, so files run beside each other, each with labs of its own. Those
# that take longest come first, so that no worker is alone in the end.
labs: setup
	$(PYTEST) -n 3 --dist loadfile --timeout 900 --durations 25 tests/terminal tests/machines tests/lab

lab: setup
	$(PYTEST) -n 2 --dist loadfile tests/lab tests/terminal

machines: setup
	$(PYTEST) -n 2 --dist loadfile --timeout 900 tests/machines

# Accidents at many seeded moments, which take too long for every `make test`. `make faults SEEDS=3,7`: only those.
faults: setup
	$(if $(SEEDS),SEEDS=$(SEEDS)) $(PYTEST) -s -m faults tests/machines/test_dead_controller.py

# Everybody dies at every step boundary, an hour or two. POINTS, SEED, OUT: tests/machines/test_kills.py says what they mean.
kills: setup
	$(PYTEST) -s -m faults tests/machines/test_kills.py

# What every `make test` has no time for: nginx and Caddy on real hosts, the oldest and the newest Debian (whose root file
# systems it builds first, a minute each, once).
more: setup
	$(PYTEST) -m more -n 2 --dist loadfile --timeout 1500 tests/lab tests/machines

# What somebody can do who runs code as the app, or may commit: on real hosts, in every way that was ever found.
attacks: setup
	$(PYTEST) -m more --timeout 900 tests/attacks

# docs/table.md: what a change costs with every strategy, server, supervisor and balancer. Goes on where it was stopped: all
# of it takes an hour or two. `make table CELLS='reload/*'` and `make table SEED=7` measure those cells again.
table: setup
	PYTHONPATH=tests $(BIN)/python -m table $(if $(CELLS),--cells '$(CELLS)') $(if $(SEED),--seed '$(SEED)')

# The JSON Schemas in docs/reference, and docs/operations.md. Tests compare them with the code.
reference: setup
	for command in status releases history hosts plan doctor verify prune; do \
		$(BIN)/deploy schema $$command > docs/reference/$$command.schema.json || exit 1; done
	PYTHONPATH=tests $(BIN)/python -m support.operations_page > docs/operations.md

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml bin/prepare
	bin/prepare $(VENV)
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
