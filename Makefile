# The main job is `make demo`, the tests are `make test`; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
NEEDS_CLUSTER := cluster or cluster_lifecycle

.PHONY: help demo demo-down test check generate docs bench soak image manifests lock release publish clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: $(INSTALLED) ## a cluster, the operator, a service, a chat request and its answer; ENGINE=vllm: by a real vLLM, SHAPE=pd: by prefillers and a decoder; CONTEXT=name [IMAGE=name]: in a cluster of yours
ifdef CONTEXT
	@$(BIN)/python -m tools.demo_elsewhere "$(CONTEXT)" $(IMAGE)
else
	@$(BIN)/python -m tools.demo up $(or $(SHAPE),$(ENGINE))
endif

demo-down: $(INSTALLED) ## end all that `make demo` started
	@$(BIN)/python -m tools.demo down

test: check ## everything: check, then unit, golden, property, story, contract and cluster tests
	$(BIN)/python -m testbed build
	$(BIN)/pytest -n auto -m "not ($(NEEDS_CLUSTER)) and not soak"
	$(BIN)/pytest -m "($(NEEDS_CLUSTER)) and not soak"

check: $(INSTALLED) ## format, lint, types, import contracts: seconds
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

generate: $(INSTALLED) ## write the generated files anew: schemas, chart, reference, golden files
	$(BIN)/python -m tools.kubernetes_schema
	$(BIN)/python -m tools.chart
	$(BIN)/python -m tools.reference
	$(BIN)/pytest -q tests/build/test_golden.py --update-golden

docs: $(INSTALLED) ## the documentation as a site, in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(INSTALLED) ## what a reconcile costs, counted on the local cluster
	$(BIN)/python -m bench

soak: $(INSTALLED) ## the long tests
	$(BIN)/pytest -m soak

image: $(INSTALLED) ## the operator's image as an archive in build/, for `kind load image-archive` or `docker load`
	@$(BIN)/python -m tools.image archive build/fusioninfer.tar

manifests: $(INSTALLED) ## the chart as plain manifests in build/, for `kubectl apply --server-side -f`
	@$(BIN)/python -m tools.in_cluster build/fusioninfer.yaml

lock: $(INSTALLED) ## pin the newest versions of all dependencies
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-header --extra dev --universal pyproject.toml -o requirements.lock

release: $(INSTALLED) ## all of a release into dist/, and its tag; VERSION=1.2.3
	@$(BIN)/python -m testbed build helm
	@$(BIN)/python -m tools.release say "$(VERSION)"
	@$(MAKE) --no-print-directory $(INSTALLED)
	@$(BIN)/python -m tools.release make "$(VERSION)"

publish: $(INSTALLED) ## push a release's image and chart by docker, podman, skopeo or crane, and helm; VERSION=1.2.3 REGISTRY=registry/folder
	@$(BIN)/python -m tools.release publish "$(VERSION)" "$(REGISTRY)"

clean: ## remove what the targets made here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist

$(INSTALLED): requirements.lock pyproject.toml examples/plugins/sim/pyproject.toml
	@echo "installing the Python packages of requirements.lock into $(VENV)"
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { apt-get update -qq && apt-get install -y -qq python3-venv; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e . -e examples/plugins/sim
	@touch $@
