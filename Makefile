# make help lists what there is.
SHELL := /usr/bin/env bash
.DEFAULT_GOAL := help

GOLANGCI_LINT := go tool -modfile=tools/go.mod golangci-lint
SCRATCH := $(if $(wildcard /dev/shm),/dev/shm,$(or $(TMPDIR),/tmp))

.PHONY: help
help: ## say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/kontor
	go build -o bin/kontor ./cmd/kontor

.PHONY: run
run: build ## build and run kontor dev: needs nothing installed; ARGS adds arguments
	exec ./bin/kontor dev $(ARGS)

.PHONY: test
test: ## run all tests on a real PostgreSQL, installing one if there is none; TESTFLAGS adds flags of go test
	scripts/test $(TESTFLAGS) ./...

.PHONY: test-cluster
test-cluster: ## keep a PostgreSQL for tests running and print the variable that makes go test use it
	go run ./internal/kit/postgrestest/cluster

.PHONY: lint
lint: ## run the linters
	$(GOLANGCI_LINT) run ./...

.PHONY: format
format: ## format the code
	$(GOLANGCI_LINT) fmt ./...

.PHONY: generate
generate: ## make the generated code anew
	scripts/generate

.PHONY: check
check: ## run everything that CI runs
	.ci/run

.PHONY: bench
bench: ## measure Kontor and its peers at the same work; ARGS adds arguments
	cd bench && go run . $(ARGS)

.PHONY: clean
clean: ## remove what was built, and the clusters of earlier tests
	rm -rf bin "$(SCRATCH)"/kontor-test-"$$(id -u)"-*
