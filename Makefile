# Lethe: `make demo` shows it, `make test` tests it; both set everything up by themselves.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST := $(BIN)/python -m pytest -n 2 --dist loadfile
# Tests start hundreds of processes: without compiled modules each of them takes half as long again to begin.
export PYTHONDONTWRITEBYTECODE :=
# What the tests need beside Python, and the Debian package it is in; Apache Kafka and Maven only for `make test-kafka` and `make test-spark`.
TOOLS := systemd-analyze:systemd npm:npm pg_ctlcluster:postgresql gcc:gcc clang:clang chromium:chromium promtool:prometheus softhsm2-util:softhsm2
test-kafka test-spark: TOOLS += java:openjdk-17-jre-headless mvn:maven
test-kafka: TOOLS += curl:curl jq:jq
T ?= tests
HOUSE := tests/unit/deploy/test_papers.py tests/unit/deploy/test_architecture_page.py
FAST := tests/unit/schemas tests/unit/keys tests/unit/streams tests/unit/integrity $(HOUSE) tests/vectors
N ?=
JOURNAL ?=
MINUTES ?=
AT_ONCE ?=

.PHONY: help
help: ## What there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(STAMP): requirements-dev.lock pyproject.toml $(wildcard native/*)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: setup
setup: $(STAMP) ## Make .venv/ with `lethe` in it

.PHONY: tools
tools: ## Install what tests need beside Python, where it is missing (apt-get, as root)
	@for tool in $(TOOLS); do command -v "$${tool%%:*}" >/dev/null || missing+=" $${tool##*:}"; done; \
	if [ -n "$${missing:-}" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq; apt-get install -y -qq $$missing; \
		else echo "as root: apt-get install$$missing" >&2; exit 1; fi; fi

.PHONY: demo
demo: setup ## Show the whole path on 200,000 made-up records, under var/demo
	@$(BIN)/lethe demo

.PHONY: test
test: setup tools ## The whole test-suite, on the embedded broker; a part of it with T=tests/unit/keys
	$(TEST) $(T)

.PHONY: again
again: ## Once more, one after the other, what failed of the last tests
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none --maxfail 3 $(T)

.PHONY: test-fast
test-fast: setup ## What most changes break, in under a minute
	$(TEST) $(FAST)

.PHONY: test-kafka
test-kafka: setup tools ## Integration and fault suites against Apache Kafka
	$(BIN)/python -c "from lethe.testing.brokers.kafka import artifacts; artifacts.libraries()"
	LETHE_TEST_BROKER=kafka $(TEST) tests/integration tests/faults

$(VENV)/spark/.installed: requirements-spark.lock $(STAMP)
	rm -rf $(VENV)/spark
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --target $(VENV)/spark -r requirements-spark.lock
	@touch $@

.PHONY: test-spark
test-spark: setup tools $(VENV)/spark/.installed ## Apache Spark with Delta Lake, beside Lethe and under it
	@$(BIN)/python tests/spark/delta.py >/dev/null
	PYTHONPATH=$(abspath $(VENV)/spark) $(BIN)/python -m pytest -p no:cacheprovider $(or $(SPARK),tests/spark/check_*.py)

$(BIN)/helm: $(STAMP)
	@command -v go >/dev/null || { echo "Helm is built with Go 1.24 or later: https://go.dev/dl" >&2; exit 1; }
	GOBIN=$(abspath $(BIN)) go install helm.sh/helm/v3/cmd/helm@v3.19.0

.PHONY: chart
chart: setup $(BIN)/helm ## Render the Helm chart, lint it, hold it against the schemas of Kubernetes (needs Go)
	$(BIN)/python -m pytest -p no:cacheprovider tests/unit/deploy/check_chart.py

$(BIN)/actionlint: $(STAMP)
	@command -v go >/dev/null || { echo "actionlint is built with Go 1.24 or later: https://go.dev/dl" >&2; exit 1; }
	GOBIN=$(abspath $(BIN)) go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.7

.PHONY: workflows
workflows: setup $(BIN)/actionlint ## Lint the workflows of CI and of releases (needs Go)
	$(BIN)/actionlint -color=false $(wildcard .github/workflows/*.yml)

$(VENV)/contracts/.installed: requirements-contracts.lock
	$(PYTHON) -m venv $(VENV)/contracts
	$(VENV)/contracts/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-contracts.lock
	@touch $@

.PHONY: aarch64
aarch64: setup ## Compile the wheel for aarch64 and run it under QEMU (Debian or Ubuntu; five minutes)
	tests/integration/aarch64.sh $(BIN)/python

.PHONY: contracts
contracts: setup tools $(VENV)/contracts/.installed ## Write docs/contracts anew, and hold a real warehouse against them
	$(BIN)/python -m lethe.deploy.contracts docs/contracts
	$(BIN)/python -m pytest -p no:cacheprovider tests/unit/deploy/check_contracts.py

.PHONY: access-laws
access-laws: setup ## Ask, approve, revoke, end, set clocks and roles at random: never a read without a grant; N=10000 sequences
	LETHE_SEQUENCES=$(or $(N),10000) $(BIN)/python -m pytest -p no:cacheprovider --timeout 0 tests/property/access

.PHONY: fuzz
fuzz: setup tools ## Fuzz the compiled code: make fuzz MINUTES=30; what is new goes to tests/fuzz/seeds
	$(BIN)/python tests/fuzz/built_native.py $(or $(MINUTES),10)

.PHONY: lint
lint: setup ## ruff, mypy --strict, the law between rooms, and what the papers say of them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -p no:cacheprovider $(HOUSE)

.PHONY: format
format: setup ## Format the code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: soak
soak: setup ## Kill workers at random: make soak N=500 (AT_ONCE=3 rounds side by side, JOURNAL=file to go on later, MINUTES=60 at most)
	$(BIN)/python -m bench.soak --kills $(or $(N),20) $(if $(JOURNAL),--journal $(JOURNAL)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(AT_ONCE),--at-once $(AT_ONCE))

.PHONY: leak-hunt
leak-hunt: setup ## Hunt for planted identifiers: make leak-hunt N=10000000
	$(BIN)/python -m bench.leak_hunt --count $(or $(N),100000)

.PHONY: number-plan
number-plan: setup ## Try every number on a hash whose key is gone: 10 to 20 min; a part with N=1000 (of 10000)
	$(BIN)/python -m bench.number_plan --blocks $(or $(N),10000)

.PHONY: bench
bench: setup ## Measure against peers; writes bench/RESULTS.md
	$(BIN)/python -m bench.run

.PHONY: lock
lock: setup ## Pin today's versions of everything
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile -q pyproject.toml --extra dev --extra registry --extra serve --extra pkcs11 --extra vault --extra aws --extra traces --generate-hashes --no-header --no-emit-index-url --no-annotate --python-version 3.11 --upgrade -o requirements-dev.lock
	$(BIN)/uv pip compile -q pyproject.toml --generate-hashes --no-header --no-emit-index-url --no-annotate --python-version 3.11 -c requirements-dev.lock -o requirements.lock
	$(BIN)/uv pip compile -q pyproject.toml --extra serve --extra registry --extra vault --extra aws --extra traces --generate-hashes --no-header --no-emit-index-url --no-annotate --python-version 3.11 -c requirements-dev.lock -o requirements-image.lock
	echo 'pyspark<4.2' | $(BIN)/uv pip compile -q - --generate-hashes --no-header --no-emit-index-url --no-annotate --python-version 3.11 --upgrade -o requirements-spark.lock
	echo 'datacontract-cli[duckdb,parquet]' | $(BIN)/uv pip compile -q - --generate-hashes --no-header --no-emit-index-url --no-annotate --python-version 3.11 --upgrade -o requirements-contracts.lock

.PHONY: sbom
sbom: setup ## The bill of materials of the image (CycloneDX), to build/lethe.cdx.json
	mkdir -p build && $(BIN)/python -m lethe.deploy.sbom requirements-image.lock > build/lethe.cdx.json

.PHONY: clean
clean: ## Remove what was built; var/ stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
