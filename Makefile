# The newcomer needs two of these: make demo, make test. `make help` lists them all.

# The linter is built from the module proxy at this version, outside of go.mod, so that its dependencies stay out of ours.
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# A working copy that git does not trust (another owner) must build too; Go's VCS stamp would fail there.
STAMP := $(shell git rev-parse HEAD >/dev/null 2>&1 || echo -buildvcs=false)

ARGS  ?=
TESTS ?= ./...
RUN   ?= .

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@printf '\n  \033[1mfirstclick\033[0m: for every checkout, which click led to it?\n\n'
	@awk -F ':.*## ' '/^##@/ { printf "  \033[2m%s\033[0m\n", substr($$0, 5) } \
		/^[a-z][a-z-]*:.*## / { printf "    \033[36mmake %-10s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\n  ARGS="..." goes to the program behind demo, verify, bench and chaos;\n'
	@printf '  TESTS=./join/... RUN=TestName make test runs one suite.\n\n'

##@ Try it

.PHONY: demo
demo: build ## Broker, Postgres, generator and pipeline in one process; Ctrl-C ends it, again goes on
	@exec bin/firstclick demo $(ARGS)

.PHONY: verify
verify: build ## Recompute the answer from Kafka by other code and compare it with the table
	@exec bin/firstclick verify $(ARGS)

##@ Work on it

.PHONY: build
build: ## Build bin/firstclick
	@go build -trimpath $(STAMP) -o bin/firstclick .

.PHONY: test
test: ## Every test that needs only Go: in-process Kafka, real Postgres (installed, else downloaded)
	go test -shuffle=on -timeout 10m -run '$(RUN)' $(TESTS)

.PHONY: race
race: ## The same under the race detector (needs a C compiler)
	go test -race -timeout 15m -run '$(RUN)' $(TESTS)

.PHONY: realkafka
realkafka: ## The suites against a real Kafka broker (needs Java and Maven) and a real Postgres
	@$(if $(filter-out .,$(RUN)),RUN='$(RUN)') .ci/realkafka

.PHONY: properties
properties: ## The core and the window against brute force, 3,000 random runs each
	go test -timeout 10m -run 'BruteForce|LikePlain' ./join -rapid.checks=3000

.PHONY: browser
browser: ## The page in a headless Chromium, with axe-core (installs both where missing; needs npm)
	@.ci/browser

.PHONY: fuzz
fuzz: ## Every fuzz target for FUZZTIME each (10s)
	@.ci/fuzz

.PHONY: lint
lint: ## Rules of the house, go vet, golangci-lint
	@.ci/house
	go vet ./...
	go vet -tags realkafka,prometheus ./...
	go run $(GOLANGCI) run --build-tags realkafka,prometheus ./...

.PHONY: fmt
fmt: ## Format the code and put the imports in order
	go run $(GOLANGCI) fmt ./...

.PHONY: bench
bench: ## The backlog against bare COPY on real Kafka and Postgres; writes bench/results
	go run $(STAMP) ./internal/bench $(ARGS)

.PHONY: prometheus
prometheus: ## Metrics, alerts and dashboards against a real Prometheus that scrapes a demo
	@$(if $(filter-out .,$(RUN)),RUN='$(RUN)') .ci/prometheus

.PHONY: chaos
chaos: ## Break Kafka, Postgres, the network and instances for 3 minutes, then verify; ARGS="-seed 7"
	go run $(STAMP) ./internal/chaos $(ARGS)

.PHONY: ci
ci: ## All that has to pass before a change goes in
	@.ci/run

.PHONY: clean
clean: ## Remove what the targets above have built
	rm -rf bin dist .cache firstclick
	go clean -testcache
