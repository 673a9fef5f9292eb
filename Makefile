# Everything that is done with this repository. `make help` lists it.
#
# Binaries are static: the shim and the agent run in any image, the controller in an image from scratch.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
BIN := target/release
HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
CRT_STATIC := -C target-feature=+crt-static
STATIC := RUSTFLAGS="$(CRT_STATIC)" cargo build --locked --target $(HOST)
# The shim is in every step: packed relocations save a few percent of it.
STATIC_SMALL := RUSTFLAGS="$(CRT_STATIC) -C link-arg=-Wl,-z,pack-relative-relocs" cargo build --locked --target $(HOST)
KUBECONFIG_FILE := $(abspath target/cluster/kubeconfig)
RUN_NUMBER ?= 10

.PHONY: help
help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name what; do printf '  make %-14s %s\n' "$$name" "$$what"; done

.PHONY: setup
setup: ## Install what is missing to build (as root: with apt; otherwise say how)
	@.ci/setup

.PHONY: build
build: setup ## The binaries, static, in target/release
	$(STATIC) --release -p ergon-cli -p ergon-agent -p ergon-controller
	$(STATIC_SMALL) --profile tiny -p ergon-shim
	@mkdir -p $(BIN)
	@install -m 755 $(TARGET)/$(HOST)/release/{ergon,ergon-agent,ergon-controller} $(TARGET)/$(HOST)/tiny/ergon-shim $(BIN)/

.PHONY: demo
demo: build ## A CI pipeline in containers on this machine, with no cluster
	@.ci/demo

.PHONY: unit
unit: setup ## Tests that need no cluster
	cargo test --locked --workspace --exclude e2e

.PHONY: check
check: setup ## Generated files are up to date, and the crates keep their boundaries
	cargo run --locked -q -p xtask -- codegen --check
	cargo run --locked -q -p xtask -- tidy

.PHONY: test
test: ## Everything: checks, unit tests, a real cluster with all examples
	@.ci/test

.PHONY: e2e
e2e: cluster ## The tests on the cluster, and on this machine's containers beside it
	ERGON_BIN=$(abspath $(BIN)/ergon) RUST_TEST_THREADS=$${RUST_TEST_THREADS:-4} cargo test --locked -p e2e

.PHONY: cluster
cluster: build ## A one-node Kubernetes on this machine with Ergon installed (kubeconfig: target/cluster/kubeconfig)
	@.ci/cluster

.PHONY: cluster-down
cluster-down: ## End that cluster; nothing of it stays
	@tests/cluster/down

.PHONY: bench
bench: cluster ## How long runs take, against plain pods on the same cluster: ONLY=regex RUN_NUMBER=10
	KUBECONFIG=$(KUBECONFIG_FILE) cargo run --locked -q -p e2e --bin bench -- --runs $(RUN_NUMBER) $(if $(ONLY),--only '$(ONLY)')

.PHONY: compat
compat: cluster ## Tekton's manifests, unmodified: DIR=folder ONLY=regex PARALLEL=4 (default DIR: Tekton's own examples)
	@DIR='$(DIR)' ONLY='$(ONLY)' PARALLEL='$(PARALLEL)' ARGS='$(ARGS)' .ci/compat

.PHONY: fuzz
fuzz: ## Each fuzz target for a while (needs a nightly compiler): SECONDS=60
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	cd fuzz && for target in $$(cargo +nightly fuzz list); do \
		mkdir -p "corpus/$$target" && \
		cargo +nightly fuzz run "$$target" "corpus/$$target" "seeds/$$target" -- -max_total_time=$(or $(SECONDS),60) || exit 1; \
	done

.PHONY: codegen
codegen: ## Write crds/, docs/reference/ and docs/schemas/ from the types
	cargo run --locked -q -p xtask -- codegen

.PHONY: lint
lint: setup ## Formatting, clippy, licences, manifests
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo run --locked -q -p ergon-cli -- lint $(wildcard examples catalog)
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check licenses bans sources

.PHONY: clean
clean: cluster-down ## Remove what was built here (not the cache of the cluster's parts)
	cargo clean
