# `make` or `make help` lists what can be done.

SHELL       := bash
.SHELLFLAGS := -uo pipefail -c
.DEFAULT_GOAL := help

PKG      ?= ./...
FUZZTIME ?= 20s
BENCH    ?= .
COUNT    ?= 5
# More for the command in question: `make run ARGS='--listen 127.0.0.1:8080'`, `make test ARGS='-run Lease -v'`.
ARGS     ?=

# The version is stamped here, so Go need not ask git: it fails where the checkout is another user's.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GOBUILD  = CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)" -o bin/

DOCKERBUILD = DOCKER_BUILDKIT=1 docker build --build-arg VERSION='$(VERSION)' $(if $(GOPROXY),--build-arg GOPROXY='$(GOPROXY)')

# The race detector needs a C compiler, which Go reports here. Without one the tests run all the same.
RACE = $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: ## build the service and run it on ./authhook.db with the example catalog
	@mkdir -p bin
	@$(GOBUILD) ./cmd/authhook
	@AUTHHOOK_DATABASE_URL="$${AUTHHOOK_DATABASE_URL:-sqlite:authhook.db}" exec bin/authhook serve --catalog examples/catalog.yaml $(ARGS)

.PHONY: test
test: ## every test, with -race, beside a throwaway PostgreSQL and Redis
	@[[ -n "$(RACE)" ]] || echo "no C compiler: the tests run without the race detector (Debian: apt-get install gcc libc6-dev)" >&2
	scripts/with-services go test $(RACE) -timeout 10m $(ARGS) $(PKG)

.PHONY: kills
kills: ## a process killed a thousand times between the commit of a billing event and its effect
	AUTHHOOK_TEST_KILLS=1000 scripts/with-services go test -count=1 -timeout 10m -run Killed -v ./internal/billing

.PHONY: replicas
replicas: ## three authhooks with 10,000 sessions each over one PostgreSQL and one Redis, which are killed and cut off in turn
	AUTHHOOK_TEST_REPLICA_SESSIONS=10000 scripts/with-services go test -count=1 -timeout 20m -run TestAReplicaForEachNode -v ./cmd/authhook

.PHONY: build
build: ## both programs into bin/
	@mkdir -p bin
	$(GOBUILD) ./cmd/authhook ./cmd/authhook-trigger

.PHONY: lint
lint: fmt vet staticcheck ## formatting, vet, staticcheck

.PHONY: fmt
fmt: ## fail when a file is not as gofmt writes it
	@files=$$(gofmt -l .) || exit; [[ -z $$files ]] || { echo "not formatted (gofmt -w .):"; echo "$$files"; exit 1; }

.PHONY: vet
vet: ## go vet
	go vet ./...

.PHONY: staticcheck
staticcheck: ## staticcheck, in the version of go.mod
	go tool staticcheck ./...

.PHONY: generate
generate: ## the API's server types and its client, from openapi.yaml
	go generate .

.PHONY: generated
generated: ## fail when what is generated is not what openapi.yaml says
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	for package in internal/webhook/admin client; do \
		file=$$(basename $$package/*.gen.go); \
		go tool oapi-codegen -config $$package/generate.yaml -o $$dir/$$file openapi.yaml && \
		cmp $$dir/$$file $$package/$$file || { echo "$$package/$$file is not current: make generate"; exit 1; }; \
	done

.PHONY: bench
bench: ## all of it beside its references, into bench/ (some minutes; BENCH_SHORT=1: one)
	scripts/with-services go run ./bench $(ARGS)

# To compare two states: `make microbench >before.txt`, the change, `make microbench >after.txt`, and
# `go run golang.org/x/perf/cmd/benchstat@latest before.txt after.txt`. COUNT=10 tells small differences.
.PHONY: microbench
microbench: ## the packages' benchmarks (BENCH, COUNT), as benchstat compares them
	@go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) -timeout 30m $(ARGS) \
		./internal/policy ./internal/webhook ./internal/wire/socket ./cmd/authhook-trigger

.PHONY: fuzz
fuzz: ## every fuzz target, one after another, for FUZZTIME (20s) each
	@FUZZTIME='$(FUZZTIME)' scripts/fuzz $(PKG)

.PHONY: ci
ci: ## what CI runs
	@.ci/run

.PHONY: image
image: ## the container images authhook and authhook-mistserver (Docker with BuildKit)
	$(DOCKERBUILD) -t authhook .
	$(DOCKERBUILD) -t authhook-mistserver --target mistserver .

.PHONY: env
env: ## .env for docker-compose.yml, with fresh secrets; one that exists is kept
	@scripts/compose-env

.PHONY: compose-test
compose-test: ## the images and the stack, for real: on a Docker engine of its own, as root
	scripts/compose-test

.PHONY: clean
clean: ## remove what was built; authhook.db stays
	rm -rf bin coverage.out
