# The README's commands. Nothing but Python 3.11 and make has to be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROOMS := activities agent api bundles cli clients domain runtime store workflows worker.py
# Tests are full of made-up passwords and digests; keys and tokens of real services are looked for there too.
FOR_TESTS := --disable-plugin KeywordDetector --disable-plugin HexHighEntropyString \
	--disable-plugin Base64HighEntropyString --disable-plugin BasicAuthDetector
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: install tools demo test test-faults test-races coverage lint bench bench-judge bench-judge-live bench-judge-scale histories fuzz-api authorisation lock clean

install: $(VENV)/.installed

$(VENV)/.installed: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Hotswap needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# Debian's packages of programs that some tests run beside ours; those tests are skipped where they are missing.
tools:
	command -v prometheus >/dev/null && command -v chromium >/dev/null && exit 0; \
	apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes \
		--no-install-recommends prometheus chromium fonts-dejavu-core

demo: install
	$(BIN)/hotswap demo

# Two files at a time: half of what the tests do is to wait.
test: install
	$(BIN)/pytest --numprocesses 2 --dist loadfile

test-faults: install
	$(BIN)/pytest -m "faults or faults_long" -rP tests/stack tests/api

test-races: install
	$(BIN)/pytest -m races_long -rP tests

# The suite once more, with the processes that it starts; fails below pyproject.toml's fail_under.
coverage: install
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses 2 --dist loadfile
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --sort cover

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --severity-level medium --recursive $(ROOMS)
	git ls-files -z -- ':!tests' ':!bench' ':!requirements.txt' ':!docs/*.svg' | xargs -0 $(BIN)/detect-secrets-hook
	git ls-files -z -- tests bench | xargs -0 $(BIN)/detect-secrets-hook $(FOR_TESTS)
	$(BIN)/python -m tests.advisories

bench-judge: install
	$(BIN)/python -m bench.judge

bench-judge-live: install
	$(BIN)/python -m bench.judge_live

bench-judge-scale: install
	$(BIN)/python -m bench.judge_scale

bench: install
	$(BIN)/python -m bench.plan
	$(BIN)/python -m bench.fleet

histories: install
	$(BIN)/python -m tests.workflows.record_histories

fuzz-api: install
	$(BIN)/pytest -m fuzz_long -rP tests/api/test_fuzz.py

authorisation: install
	$(BIN)/python -m tests.api.authorisation

lock: install
	$(BIN)/uv pip compile pyproject.toml --extra dev --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet --output-file requirements.txt

clean:
	rm -rf $(VENV) .hotswap
