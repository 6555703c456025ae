PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check clean

run: .venv/run.done
	$(BIN)/malmoi run quickstart

test: .venv/test.done
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2

# The stamps make both targets work offline once they have worked.
.venv/run.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[corpus,evaluate,images,serve,tune]'
	touch $@

.venv/test.done: .venv/run.done
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build src/*.egg-info
