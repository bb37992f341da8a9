# Two commands do all the set-up on a fresh machine with Python 3.11: `make demo` and `make test`.
SHELL := /bin/bash
PYTHON ?= python3
# A CPU build where the package index offers one; set TORCH to the build for your GPU.
TORCH ?= torch==2.13.0
BIN := .venv/bin
DEMO ?= demo
export HF_HUB_DISABLE_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test lint unit coverage test-slow docs bench-road bench-engines bench-corpus bench-scale bench-lifecycle bench-throughput bench-retrieval bench-answers bench-citing bench-overhead bench-attack bench-endtoend bench-vectors bench-queries bench-agent bench-diagnosis bench-tables bench-preflight bench-tuning bench-ladder bench-replay bench-labels bench-exposure bench-defaults bench-claims bench-agreement bench-coverage bench-reversal bench-compare clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

demo: .venv/ready  ## The whole road on a fictional company: index, tune, compare, recommend
	@test -f $(DEMO)/bakeoff.toml || $(BIN)/bakeoff init $(DEMO) --demo
	$(BIN)/bakeoff compare -C $(DEMO)

test: lint unit  ## Lint, types, layers, tests

lint: .venv/ready
	$(BIN)/ruff check src tests benchmarks demo_build
	$(BIN)/ruff format --check src tests benchmarks demo_build
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: .venv/ready
	$(BIN)/pytest -m "not slow" -n 2 --dist loadfile

coverage: .venv/ready  ## The tests again, with the lines that none of them runs
	$(BIN)/pytest -m "not slow" --cov --cov-report=term-missing:skip-covered

test-slow: .venv/ready  ## The checks that need minutes: kill tests at length, the whole demo
	$(BIN)/pytest -m slow

docs: .venv/ready  ## Write the generated parts of the documentation again
	$(BIN)/python docs/generate.py

.PHONY: screenshot
screenshot: .venv/ready  ## Take the picture of the README anew, of the last run of bench-road; needs Chromium
	$(BIN)/python docs/screenshot.py .bench/road/runs/latest/report.html

bench-road: .venv/ready  ## The road on XQuAD: DATA=folder with xquad/xquad.en.json
	$(BIN)/python benchmarks/road.py --data $(DATA)

bench-engines: .venv/ready  ## Encodings of the packaged models on this CPU, side by side: DATA=folder
	$(BIN)/python benchmarks/engines.py --data $(DATA)

bench-corpus: .venv/ready  ## Hostile and odd files, and a handbook at four dates: DATA=folder
	$(BIN)/python benchmarks/corpus.py --data $(DATA)

bench-scale: .venv/ready  ## Memory, time and search by size: DATA=folder; DOCUMENTS and CHUNKS are lists of sizes
	$(BIN)/python benchmarks/scale.py $(if $(DATA),--data $(DATA)) --documents $(or $(DOCUMENTS),1000 10000 100000) --chunks $(or $(CHUNKS),10000 100000)

bench-lifecycle: .venv/ready .venv-peers/ready  ## What old text is held after edits and deletes, side by side with peers
	$(BIN)/python benchmarks/lifecycle.py

bench-throughput: .venv/ready .venv-peers/ready  ## Ingest beside peers with the same embedding model: DATA=folder
	$(BIN)/python benchmarks/throughput.py --data $(DATA)

bench-retrieval: .venv/ready .venv-peers/ready  ## How well passages are found, beside peers: DATA=folder
	$(BIN)/python benchmarks/retrieval.py --data $(DATA)

bench-answers: .venv/ready  ## What citations are worth, and when to refuse, on three collections: DATA=folder
	$(BIN)/python benchmarks/answers.py --data $(DATA)

bench-citing: .venv/ready  ## Do people agree with what is cited? DATA=folder with begin_dev
	$(BIN)/python benchmarks/citing.py --data $(DATA)

bench-overhead: .venv/ready .venv-peers/ready  ## Our own code around retrieval and generation, beside peers: DATA=folder
	$(BIN)/python benchmarks/overhead.py --data $(DATA)

bench-attack: .venv/ready  ## How often a document is obeyed, with and without marks around it: DATA=folder
	$(BIN)/python benchmarks/attack.py --data $(DATA)

bench-endtoend: .venv/ready .venv-peers/ready  ## Answers beside peers, same generator: DATA=folder
	$(BIN)/python benchmarks/endtoend.py --data $(DATA)

bench-vectors: .venv/ready  ## int8 beside llama.cpp, titles embedded or not, dense retrieval alone: DATA=folder
	$(BIN)/python benchmarks/vectors.py --data $(DATA)

bench-queries: .venv/ready  ## Follow-up questions, reformulations and hops beside plain search: DATA=folder
	$(BIN)/python benchmarks/queries.py --data $(DATA)

bench-agent: .venv/ready  ## An agent with tools beside plain RAG: DATA=folder with chinook
	$(BIN)/python benchmarks/agent.py --data $(DATA)

bench-diagnosis: .venv/ready  ## Whether the diagnosis finds what was broken on purpose
	$(BIN)/python benchmarks/diagnosis.py

bench-tuning: .venv/ready .venv-peers/ready  ## Training speed beside TRL on the same model, data and steps: DATA=folder; PART=lora, freeze or profile for one
	$(BIN)/python benchmarks/tuning.py --data $(DATA) $(if $(PART),--part $(PART))

bench-ladder: .venv/ready  ## Every method of tuning with its own searched settings: DATA=folder; PART=skill or PART=preferences for others
	$(BIN)/python benchmarks/ladder.py --data $(DATA) $(if $(PART),--part $(PART))

bench-replay: .venv/ready  ## What general conversations among the lessons save of what is forgotten: DATA=folder
	$(BIN)/python benchmarks/replay.py --data $(DATA)

bench-agreement: .venv/ready  ## How well each metric agrees with people: DATA=folder
	$(BIN)/python benchmarks/metric_agreement.py --data $(DATA)

bench-coverage: .venv/ready  ## How often the intervals hold a truth that is known, by simulation
	PYTHONPATH=tests $(BIN)/python benchmarks/coverage.py

bench-compare: .venv/ready .venv-peers/ready  ## Eight systems compared, beside LangChain one after another: DATA=folder; QUESTIONS=10 for a small one
	$(BIN)/python benchmarks/compare_speed.py --data $(DATA) $(if $(QUESTIONS),--questions $(QUESTIONS))

bench-reversal: .venv/ready  ## Learnt that A is B, asked for A by B, beside RAG: DATA=folder; PAIRS=20 for a small one
	$(BIN)/python benchmarks/reversal.py --data $(DATA) $(if $(PAIRS),--pairs $(PAIRS))

bench-exposure: .venv/ready  ## What a training remembers of a secret, by how often it saw it: DATA=folder
	$(BIN)/python benchmarks/exposure.py --data $(DATA)

bench-defaults: .venv/ready  ## Searches behind the defaults of documents, labels, preferences and rewards: DATA=folder
	$(BIN)/python benchmarks/defaults.py --data $(DATA)

bench-claims: .venv/ready  ## What articles say of RAG and fine-tuning, on facts that no model knows: DATA=folder
	$(BIN)/python benchmarks/claims.py $(if $(DATA),--data $(DATA))

bench-labels: .venv/ready  ## Heads and a LoRA beside TF-IDF on four sets of labels: DATA=folder
	$(BIN)/python benchmarks/labels.py --data $(DATA) --lessons 300

bench-tables: .venv/ready .venv-peers/ready  ## Rows of tables in PDF files, beside pdfplumber: DATA=folder
	$(BIN)/python benchmarks/tables.py --data $(DATA)

bench-preflight: .venv/ready .venv-peers/ready  ## Seeded faults that the preflight reports, beside TRL
	$(BIN)/python benchmarks/preflight.py $(if $(PART),--part $(PART))

.venv-peers/ready: benchmarks/peers.txt
	@$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --upgrade "pip>=25.1"
	.venv-peers/bin/pip install --quiet $(TORCH)
	.venv-peers/bin/pip install --quiet -r benchmarks/peers.txt
	@touch $@

clean:  ## Remove the environment and the demo project
	rm -rf .venv $(DEMO)

# torch goes first: by itself a dependency on it would pull gigabytes of CUDA.
.venv/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "needs Python 3.11 or newer; set PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "cannot make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --editable ".[ann,boost,tune,openai,databases,datasets,formats,postgresql,qlora,search,watch]" --group dev
	$(BIN)/python -m bakeoff.models.weights
	@touch $@
