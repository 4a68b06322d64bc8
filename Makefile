# `make` lists the targets. What takes more than a line is a program in crates/.
#
#   TESTBED_NAME=x    the testbed of cluster-up, cluster-down and load (default: dev)
#   CLUSTER=current   the demo uses your kubeconfig instead of a testbed
#   ARGS="..."        further arguments for try, testbed up, the demo or the bench

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export TESTBED_NAME ?= dev
CLUSTER ?= testbed
ARGS ?=

# Where cargo puts binaries. The target is explicit, so that they are static.
BUILT = $(or $(CARGO_TARGET_DIR),target)
BIN = $(BUILT)/$(shell rustc -vV | sed -n 's/^host: //p')/debug
# Optimised binaries, built by `make image`.
SHIPPED = $(BIN:%/debug=%/dist)
IMAGES = $(BUILT)/images
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

# Compares the request log of the suites with the granted rights.
GRANTED = TESTBED_NAME=e2e cargo test -p prunella-e2e --features granted --test granted --locked -- --ignored

# $(call stage,NAME,COMMAND): runs a command and prints how long it took.
define stage
	@printf '\n== %s\n' '$(1)'; begun=$$SECONDS; $(2); printf '== %s: done in %d s\n' '$(1)' $$((SECONDS - begun))
endef

.PHONY: help
help: ## Print this menu
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Checked before minutes of compilation, not after.
.PHONY: root
root:
	@[ "$$(id -u)" = 0 ] || { echo 'This command needs root for network namespaces and cgroups. Run "make build" as yourself first, then: sudo env "PATH=$$PATH" "HOME=$$HOME" make ... ("make test-unit" needs no root.)'; exit 1; }

.PHONY: build
build: ## Build everything
	$(call stage,build,cargo build --workspace --locked)

.PHONY: test
test: root ## Run all checks and tests; root
	@begun=$$SECONDS; $(MAKE) fmt-check crds-check lint docs-check test-unit test-e2e; \
	printf '\n== test: everything passed in %d s\n' $$((SECONDS - begun))

.PHONY: test-unit
test-unit: ## Run unit, property and table tests and the repository checks; no root
	$(call stage,test-unit,cargo test --workspace --locked --no-fail-fast)

.PHONY: test-e2e
test-e2e: root build ## Run the end-to-end suites on real clusters and remove them (KEEP=1 keeps the shared one); root, Linux
	$(call stage,test-e2e,export RUST_TEST_THREADS=$${RUST_TEST_THREADS:-6}; $(if $(KEEP),,trap '$(BIN)/testbed down --name e2e' EXIT;) TESTBED_NAME=e2e cargo test --workspace --tests --locked --no-fail-fast -- --ignored; $(GRANTED))

.PHONY: test-granted
test-granted: ## Check that the granted rights are the rights that the suites used; part of test-e2e
	$(call stage,test-granted,$(GRANTED))

.PHONY: test-alerts
test-alerts: root build ## Test the alerts about Prunella with promtool; part of test-e2e; root, Linux
	$(call stage,test-alerts,TESTBED_NAME=e2e cargo test -p prunella-e2e --test install --locked -- --ignored alerts)

.PHONY: test-crash
test-crash: root build ## Kill, mislead and double the controller at every write; root, Linux
	$(call stage,test-crash,trap '$(BIN)/testbed down --name crash' EXIT; TESTBED_NAME=crash cargo test -p prunella-e2e --features crash --test crash --locked -- --ignored)

.PHONY: test-classic
test-classic: root build ## Run the five example policies with their real thresholds, takes minutes; root, Linux
	$(call stage,test-classic,trap '$(BIN)/testbed down --name classic' EXIT; TESTBED_NAME=classic cargo test -p prunella-e2e --features classic --test classic --locked -- --ignored --nocapture --test-threads=5)

.PHONY: break-it
break-it: ## Break each promise and guardrail in a copy, and check that its test fails
	$(call stage,break-it,cargo xtask break-it $(ARGS))

# The properties take longer than all else and are left out: every mutant must fall to
# a rule that says in its name what is protected.
.PHONY: mutants
mutants: ## Mutate crates/core and check that a test notices each change; needs cargo-mutants
	@cargo mutants --version >/dev/null 2>&1 || { echo 'cargo-mutants is missing: cargo install cargo-mutants --locked'; exit 1; }
	cargo mutants --package prunella-core --file 'crates/core/src/**' --output target --timeout 90 $(ARGS) -- --test rules -- --skip properties::

.PHONY: lint
lint: ## Run clippy; a warning is an error
	$(call stage,lint,cargo clippy --workspace --all-targets --locked -- -D warnings)

.PHONY: deny
deny: ## Check licences, bans and sources of all dependencies; needs cargo-deny
	@cargo deny --version >/dev/null 2>&1 || { echo 'cargo-deny is missing: cargo install cargo-deny --locked'; exit 1; }
	cargo deny --locked check bans licenses sources

.PHONY: fmt
fmt: ## Format the code
	cargo fmt --all

.PHONY: fmt-check
fmt-check: ## Check the format
	$(call stage,fmt-check,cargo fmt --all --check)

.PHONY: crds
crds: ## Generate the CRDs from crates/api
	cargo xtask crds

.PHONY: crds-check
crds-check: ## Check that the generated CRDs are current
	$(call stage,crds-check,cargo xtask crds --check)

.PHONY: docs
docs: build ## Generate docs/reference, and the alerts for the Prometheus operator
	cargo xtask docs

.PHONY: docs-check
docs-check: build ## Check that the generated files are current
	$(call stage,docs-check,cargo xtask docs --check)

.PHONY: cluster-up
cluster-up: root build ## Start a two-node Kubernetes with Prometheus on this machine; root, Linux
	$(BIN)/testbed up $(ARGS)

.PHONY: cluster-down
cluster-down: ## Remove it
	[ -x $(BIN)/testbed ] || cargo build --locked --workspace
	$(BIN)/testbed down

.PHONY: env
env: ## Print the environment of the testbed: eval "$(make -s env)"
	@$(BIN)/testbed env

.PHONY: image
image: ## Build images of the controller and the sample app as files; pushes nothing
	cargo build --profile dist --locked -p prunella-controller -p sample-app
	cargo build --locked -p testbed
	$(BIN)/testbed image save localhost/prunella:$(VERSION) $(SHIPPED)/prunella $(IMAGES)/prunella-$(VERSION).tar
	$(BIN)/testbed image save localhost/sample-app:$(VERSION) $(SHIPPED)/sample-app $(IMAGES)/sample-app-$(VERSION).tar

.PHONY: load
load: build ## Load the controller and the sample app into the testbed
	$(BIN)/testbed image load localhost/prunella:$(VERSION) $(BIN)/prunella
	$(BIN)/testbed image load localhost/sample-app:$(VERSION) $(BIN)/sample-app

.PHONY: try
try: ## Break an app in five ways and see it healed, in virtual time: no cluster, no root; ARGS="--policy my.yaml --fault errors"
	@cargo run --quiet --locked -p prunella-world --bin try -- $(ARGS)

.PHONY: sim
sim: ## Run the controller through histories in which everything goes wrong; SEED=7 shows one, ARGS="--runs 1000" runs more
	@cargo run --quiet --locked -p prunella-world --bin sim -- $(ARGS)

.PHONY: soak-sim
soak-sim: ## The same for an hour, from a seed that nobody has run before
	@cargo run --quiet --locked -p prunella-world --bin sim -- --from $$(date +%s) --runs 1000000 --seconds 3600 $(ARGS)

.PHONY: demo
demo: $(if $(filter current,$(CLUSTER)),,root) build ## Break an app in five ways and see it healed; removes everything afterwards
	$(BIN)/demo --cluster $(CLUSTER) $(ARGS)

# The controller is built alone and as it is shipped: it is what is measured.
.PHONY: bench
bench: root ## Measure latency, CPU and memory and write docs/performance.*; ARGS="--quick" only prints; root
	$(call stage,build,cargo build --locked --profile dist -p prunella-controller; cargo build --locked --profile dist -p testbed -p prunella-bench)
	$(BIN:debug=dist)/bench $(or $(ARGS),--json docs/performance.json --markdown docs/performance.md) --testbed bench

.PHONY: clean
clean: ## Remove build output; testbeds and their tools stay
	cargo clean
