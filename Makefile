# The menu: `make` prints it. Everything a contributor or a build server does
# is one of these lines; what takes more than a line is a program in crates/.
#
#   TESTBED_NAME=x    which testbed cluster-up, cluster-down and load mean (dev)
#   CLUSTER=current   the demo uses your own kubeconfig instead of a testbed
#   ARGS="..."        further arguments for testbed up, or for the demo

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export TESTBED_NAME ?= dev
CLUSTER ?= testbed
ARGS ?=

# Where cargo puts binaries: the target is explicit, so that they are static.
BUILT = $(or $(CARGO_TARGET_DIR),target)
BIN = $(BUILT)/$(shell rustc -vV | sed -n 's/^host: //p')/debug
# What is shipped is optimised: it is built apart, by `make image`.
SHIPPED = $(BIN:%/debug=%/dist)
IMAGES = $(BUILT)/images
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

# What the suites have left in the request log is compared with what the manifests grant.
GRANTED = TESTBED_NAME=e2e cargo test -p prunella-e2e --features granted --test granted --locked -- --ignored

# $(call stage,NAME,COMMAND): runs a command and prints how long it took.
define stage
	@printf '\n== %s\n' '$(1)'; begun=$$SECONDS; $(2); printf '== %s: done in %d s\n' '$(1)' $$((SECONDS - begun))
endef

.PHONY: help
help: ## Print this menu
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Asked before minutes of compilation, not after.
.PHONY: root
root:
	@[ "$$(id -u)" = 0 ] || { echo 'this makes namespaces and cgroups, which needs root: run make build (or make test-unit, which needs none), then this as root, with PATH and HOME as they are (sudo env "PATH=$$PATH" "HOME=$$HOME" make …)'; exit 1; }

.PHONY: build
build: ## Build everything
	$(call stage,build,cargo build --workspace --locked)

.PHONY: test
test: root ## Everything below up to test-e2e, the cheap first; needs root for test-e2e
	@begun=$$SECONDS; $(MAKE) fmt-check crds-check lint docs-check test-unit test-e2e; \
	printf '\n== test: everything passed in %d s\n' $$((SECONDS - begun))

.PHONY: test-unit
test-unit: ## Unit, property and table tests, and the checks of the house: no root, no cluster
	$(call stage,test-unit,cargo test --workspace --locked --no-fail-fast)

.PHONY: test-e2e
test-e2e: root build ## Suites on real clusters, taken down at the end (KEEP=1 leaves the shared one); root, Linux
	$(call stage,test-e2e,export RUST_TEST_THREADS=$${RUST_TEST_THREADS:-6}; $(if $(KEEP),,trap '$(BIN)/testbed down --name e2e' EXIT;) TESTBED_NAME=e2e cargo test --workspace --tests --locked --no-fail-fast -- --ignored; $(GRANTED))

.PHONY: test-granted
test-granted: ## What the manifests grant is what the suites that ran on the testbed e2e have used; a part of test-e2e
	$(call stage,test-granted,$(GRANTED))

.PHONY: test-alerts
test-alerts: root build ## The alerts on the healer itself, by promtool; a part of test-e2e; root, Linux
	$(call stage,test-alerts,TESTBED_NAME=e2e cargo test -p prunella-e2e --test install --locked -- --ignored alerts)

.PHONY: test-crash
test-crash: root build ## The controller killed, lied to and doubled at every write; root, Linux
	$(call stage,test-crash,trap '$(BIN)/testbed down --name crash' EXIT; TESTBED_NAME=crash cargo test -p prunella-e2e --features crash --test crash --locked -- --ignored)

.PHONY: test-classic
test-classic: root build ## The five classic rules with their classic numbers, which takes minutes; root, Linux
	$(call stage,test-classic,trap '$(BIN)/testbed down --name classic' EXIT; TESTBED_NAME=classic cargo test -p prunella-e2e --features classic --test classic --locked -- --ignored --nocapture --test-threads=5)

.PHONY: break-it
break-it: ## Break each promise and each brake in a copy, and see the test that protects it fail
	$(call stage,break-it,cargo xtask break-it $(ARGS))

# The properties take longer than all else and are left out: every mutant must fall to
# a rule that says in its name what is protected.
.PHONY: mutants
mutants: ## Mutate the judgement, and see that a test notices each change (needs cargo-mutants)
	@cargo mutants --version >/dev/null 2>&1 || { echo 'cargo-mutants is missing: cargo install cargo-mutants --locked'; exit 1; }
	cargo mutants --package prunella-core --file 'crates/core/src/**' --output target --timeout 90 $(ARGS) -- --test rules -- --skip properties::

.PHONY: lint
lint: ## Clippy over everything; a warning is an error
	$(call stage,lint,cargo clippy --workspace --all-targets --locked -- -D warnings)

.PHONY: deny
deny: ## Check licences, bans and sources of all dependencies (needs cargo-deny)
	@cargo deny --version >/dev/null 2>&1 || { echo 'cargo-deny is missing: cargo install cargo-deny --locked'; exit 1; }
	cargo deny --locked check bans licenses sources

.PHONY: fmt
fmt: ## Format
	cargo fmt --all

.PHONY: fmt-check
fmt-check: ## Check the format
	$(call stage,fmt-check,cargo fmt --all --check)

.PHONY: crds
crds: ## Write crds/ from crates/api
	cargo xtask crds

.PHONY: crds-check
crds-check: ## Check that crds/ is what crates/api says
	$(call stage,crds-check,cargo xtask crds --check)

.PHONY: docs
docs: build ## Write docs/metrics.md from crates/controller, and the alerts for the Prometheus operator
	cargo xtask docs

.PHONY: docs-check
docs-check: build ## Check that what `make docs` writes is up to date
	$(call stage,docs-check,cargo xtask docs --check)

.PHONY: cluster-up
cluster-up: root build ## A real two-node Kubernetes with Prometheus on this machine; root, Linux
	$(BIN)/testbed up $(ARGS)

.PHONY: cluster-down
cluster-down: ## Take it down; nothing is left of it
	[ -x $(BIN)/testbed ] || cargo build --locked --workspace
	$(BIN)/testbed down

.PHONY: env
env: ## Print the testbed's KUBECONFIG, URLs and PATH: eval "$(make -s env)"
	@$(BIN)/testbed env

.PHONY: image
image: ## Write images of the controller and the sample app to files, for docker, kind and minikube; pushes nowhere
	cargo build --profile dist --locked -p prunella-controller -p sample-app
	cargo build --locked -p testbed
	$(BIN)/testbed image save localhost/prunella:$(VERSION) $(SHIPPED)/prunella $(IMAGES)/prunella-$(VERSION).tar
	$(BIN)/testbed image save localhost/sample-app:$(VERSION) $(SHIPPED)/sample-app $(IMAGES)/sample-app-$(VERSION).tar

.PHONY: load
load: build ## Load the controller and the sample app into the testbed
	$(BIN)/testbed image load localhost/prunella:$(VERSION) $(BIN)/prunella
	$(BIN)/testbed image load localhost/sample-app:$(VERSION) $(BIN)/sample-app

.PHONY: demo
demo: $(if $(filter current,$(CLUSTER)),,root) build ## See an app healed of five sicknesses, from nothing; cleans up after itself
	$(BIN)/demo --cluster $(CLUSTER) $(ARGS)

# The controller is built alone and as it is shipped: it is what is measured.
.PHONY: bench
bench: root ## Measure it beside the classic path, write docs/performance.*; ARGS="--quick" or "--only cpu" only print; root
	$(call stage,build,cargo build --locked --profile dist -p prunella-controller; cargo build --locked --profile dist -p testbed -p prunella-bench)
	$(BIN:debug=dist)/bench $(or $(ARGS),--json docs/performance.json --markdown docs/performance.md) --testbed bench

.PHONY: clean
clean: ## Remove what was built here; testbeds and their tools stay
	cargo clean
