# Everything that is done with this project, for people and for CI. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := bash
bin := .venv/bin
# Tests run as users do: with compiled modules.
unexport PYTHONDONTWRITEBYTECODE
sources := src tests $(wildcard scripts benchmarks examples)

.PHONY: help setup setup-dev quickstart check test test-all test-nightly bench-quickstart bench-features bench-serving bench-alarms bench-monitoring bench-automl format lock clean

help:  ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

setup:  ## make .venv with all that millrace needs (does nothing where that is done)
	@scripts/setup.sh run

setup-dev:  ## make .venv with all that the tests need as well
	@scripts/setup.sh dev

quickstart: setup  ## set up, then live through the whole loop once
	$(bin)/millrace quickstart

check: setup-dev  ## formatting, lint, types, layers, and what files may not hold
	$(bin)/ruff format --check --quiet $(sources)
	$(bin)/ruff check --quiet $(sources)
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/python scripts/check_tree.py

test: check  ## set up, check, and run all tests that need nothing but Python and no minutes each (COVERAGE=1: with coverage, which takes half as long again)
	$(bin)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder -m "not postgres and not redis and not spark and not quartz and not alone and not long" $(if $(COVERAGE),--cov --cov-report=term:skip-covered)
	@echo 'Not run here: the stores on PostgreSQL and Redis and the joins on a real Spark, the schedules beside Quartz, which need Debian packages; servers under chaos, canaries, fuzz and the stories of the quickstart, which take minutes; and what measures time. `make test-all` runs them.'

test-all: setup-dev  ## what `make test` leaves out: the long tests, and those that need Debian packages (installed where missing, as root) or a real Spark (in .spark) or FLAML (in .bench)
	scripts/debian_packages.sh
	scripts/spark_venv.sh
	$(bin)/python benchmarks/peers.py automl-flaml
	$(bin)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "(postgres or redis or quartz or openmp or strace or long) and not spark and not alone" --no-skips
	$(bin)/pytest -m "spark or alone" --no-skips
	@test -e .bench/automl-autogluon/.made || echo "Not run here: AutoML by AutoGluon, whose environment takes gigabytes. \`make bench-automl QUICK=1\` makes it."

test-nightly: setup-dev  ## the laws of the as-of join on each embedded engine, and schedules beside Quartz itself, each in 100,000 cases: takes hours (EXAMPLES=1000: fewer)
	MILLRACE_NIGHTLY_EXAMPLES=$(EXAMPLES) $(bin)/pytest tests/contract/test_asof_join.py -k TestLaws --engine arrow --engine duckdb --hypothesis-profile=nightly --timeout=0
	scripts/debian_packages.sh
	MILLRACE_NIGHTLY_EXAMPLES=$(EXAMPLES) $(bin)/pytest tests/integration/quartz --hypothesis-profile=nightly --timeout=0 --no-skips

bench-quickstart: setup  ## measure the quickstart: time, memory, disk; writes docs/benchmarks.md
	$(bin)/python benchmarks/quickstart.py

bench-features: setup-dev  ## measure training sets beside DuckDB's own join and beside Feast (its own .venv is made), and the online store; writes docs/benchmarks.md
	$(bin)/python benchmarks/features.py
	$(bin)/python benchmarks/features_online.py

bench-serving: setup-dev  ## measure serving beside MLflow, MLServer, BentoML, Ray Serve and Feast (each gets its own .venv); needs Debian's wrk; writes docs/benchmarks.md
	scripts/debian_packages.sh wrk
	$(bin)/python benchmarks/serving.py $(if $(ROUNDS),--rounds $(ROUNDS))

bench-monitoring: setup-dev  ## measure the counting pass of monitors beside Evidently and NannyML (each gets its own .venv); writes docs/benchmarks.md
	$(bin)/python benchmarks/monitoring.py

bench-alarms: setup-dev  ## measure false alarms a year and days to detection beside Evidently and fixed thresholds (its own .venv is made); SEEDS=4 for a shorter run; writes docs/benchmarks.md
	$(bin)/python benchmarks/alarms.py $(if $(SEEDS),--seeds $(SEEDS))

bench-automl: setup-dev  ## measure AutoML beside FLAML and AutoGluon (each gets its own .venv), baselines and plain XGBoost on five tables, over an hour; goes on where it was stopped; QUICK=1 tries it in minutes; writes docs/benchmarks.md
	$(bin)/python benchmarks/automl.py $(if $(QUICK),--quick)

format: setup-dev  ## put all code into its form
	$(bin)/ruff format $(sources)
	$(bin)/ruff check --fix $(sources)

lock: setup-dev  ## write requirements/*.txt from pyproject.toml (UPGRADE=1: take the newest of everything)
	scripts/lock.sh $(if $(UPGRADE),--upgrade)

clean:  ## remove what tools leave behind; .venv and .millrace stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* build dist .work .bench
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
