# To begin: make demo, make test; with Docker, make run. `make help` lists all targets.

# The linter is built from the module proxy at this version, outside of go.mod, so that its
# dependencies stay out of ours.
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# Go's VCS stamp fails in a working copy that git does not trust (another owner). It must build too.
STAMP := $(shell git rev-parse HEAD >/dev/null 2>&1 || echo -buildvcs=false)

# Version and commit come from git, even without Go's stamp. A tarball of the source has neither.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# Releases and the image are built with this Go. It is fetched as a module if it is not installed.
# Its packages are part of the binary, and make vuln checks them. docker/images.env and the
# Dockerfile name it too, and a test compares the three.
RELEASE_GO ?= go1.26.10
COMMIT_TIME ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
LDFLAGS := -X firstclick/internal/cli.version=$(VERSION) -X firstclick/internal/cli.commit=$(COMMIT)

ARGS  ?=
TESTS ?= ./...
RUN   ?= .

# The product and the tools are two modules. TESTS may name packages of both, such as ./join/... and
# ./tools/attack.
# go test takes packages in the order given, as many at once as there are cores. The longest come
# first, so that none is left to run alone.
PRODUCT = $(if $(filter ./...,$(TESTS)),./pipeline ./cdc ./audit) $(filter-out ./tools/%,$(TESTS))
TOOLS   = $(if $(filter ./...,$(TESTS)),./...) $(patsubst ./tools/%,./%,$(filter ./tools/%,$(TESTS)))
# $(call gotest,FLAGS) tests what TESTS names.
define gotest
	$(if $(strip $(PRODUCT)),go test $(1) -run '$(RUN)' $(PRODUCT))
	$(if $(strip $(TOOLS)),go test -C tools $(1) -run '$(RUN)' $(TOOLS))
endef

# $(call tool,NAME,FLAGS) builds a program of the tools into bin.
tool = go build -C tools $(STAMP) $(2) -o ../bin/$(1) ./$(1)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@if [ -t 1 ] && [ -z "$$NO_COLOR" ]; then e=$$(printf '\033'); b="$$e[1m" d="$$e[2m" c="$$e[36m" n="$$e[0m"; fi; \
	printf '\n  %sfirstclick%s: for every checkout, which click led to it?\n' "$$b" "$$n"; \
	awk -F ':.*## ' -v d="$$d" -v c="$$c" -v n="$$n" '/^##@/ { printf "\n  %s%s%s\n", d, substr($$0, 5), n } \
		/^[a-z][a-z-]*:.*## / { printf "    %smake %-10s%s %s\n", c, $$1, n, $$2 }' $(MAKEFILE_LIST); \
	printf '\n  ARGS="..." goes to the program behind demo, verify, doctor, bench and chaos;\n'; \
	printf '  TESTS=./join/... RUN=TestName make test runs one suite.\n\n'

##@ Try it

.PHONY: demo
demo: build ## Broker, Postgres, generator and pipeline in one process; Ctrl-C ends it, a new start goes on
	@exec bin/firstclick demo $(ARGS)

##@ All of it in containers (needs Docker with Compose)

# .env if it exists, else its example, so that nothing has to be copied first.
ENV_FILE := $(firstword $(wildcard .env) .env.example)
COMPOSE  := docker compose --env-file docker/images.env --env-file $(ENV_FILE)
EVERY    := $(COMPOSE) --profile '*'

# A setting of .env, else the default.
setting = $(or $(shell sed -n 's/^$(1)=//p' $(ENV_FILE)),$(2))
PAGE    := http://localhost:$(call setting,PAGE_PORT,8081)
GRAFANA := http://localhost:$(call setting,GRAFANA_PORT,3000)
DB_PORT := $(call setting,POSTGRES_PORT,5432)
DB      := -h localhost -p $(DB_PORT) -U postgres -d postgres

# The image is labelled with its commit.
run up scale: export FIRSTCLICK_COMMIT ?= $(or $(shell git rev-parse --short=12 HEAD 2>/dev/null),unknown)

.PHONY: run
run: docker ## Restart every container and start the job; rows and offsets stay
	@$(EVERY) down --remove-orphans
	@$(COMPOSE) up -d --build --remove-orphans
	@$(say)

.PHONY: up
up: docker ## Start what is not running
	@$(COMPOSE) up -d --build
	@$(say)

.PHONY: scale
scale: docker ## The same, with three instances
	@COMPOSE_PROFILES=core,generator,monitoring,scale $(COMPOSE) up -d --build
	@$(say)

.PHONY: down
down: docker ## Stop every container; the data stay
	@$(EVERY) down --remove-orphans

.PHONY: logs
logs: docker ## Follow the logs; SERVICE=kafka for one
	@$(EVERY) logs --follow --tail 100 $(SERVICE)

.PHONY: lag
lag: docker ## The group's lag, as Kafka reports it
	@$(COMPOSE) exec kafka /opt/kafka/bin/kafka-consumer-groups.sh --bootstrap-server kafka:9092 --describe --group $(call setting,KAFKA_GROUP,firstclick)

.PHONY: clean-data
clean-data: docker ## Stop every container and remove all data: rows, events, offsets, dashboards' state
	@$(EVERY) down --remove-orphans --volumes

define say
printf '\n  page      $(PAGE)   make ui\n  grafana   $(GRAFANA)   make viz (admin / flink)\n'; \
printf '  rows      make psql, make pgcli, make watch\n  events    make logs SERVICE=generator\n\n'
endef

# Not a target for people. Without Docker it stops the others, and says what to use instead.
.PHONY: docker
docker:
	@command -v docker >/dev/null 2>&1 || { echo 'make: Docker is not installed, and this target needs it. Without Docker: make demo'; exit 1; }
	@docker compose version >/dev/null 2>&1 || { echo 'make: docker has no compose plugin (2.24 or newer). Without it: make demo'; exit 1; }
	@docker info >/dev/null 2>&1 || { echo 'make: no Docker engine answers: start it. Without Docker: make demo'; exit 1; }

##@ Look at it (in containers or the demo)

.PHONY: ui
ui: ## Open the page, 8081
	@docker/open.sh $(PAGE)

.PHONY: viz
viz: ## Open Grafana, 3000 (admin / flink)
	@docker/open.sh $(GRAFANA)

.PHONY: open
open: ## Open both
	@docker/open.sh $(PAGE) $(GRAFANA)

# The psql of this machine, else that of the container.
psql pgcli watch: export PGPASSWORD ?= $(call setting,POSTGRES_PASSWORD,postgres)
PSQL = $(if $(shell command -v psql 2>/dev/null),psql $(DB),$(COMPOSE) exec $(1) postgres psql -U postgres -d postgres)

.PHONY: psql
psql: ## Open the database in psql
	@$(call PSQL)

.PHONY: pgcli
pgcli: ## Open the database in pgcli
	@command -v pgcli >/dev/null 2>&1 || { echo 'make: pgcli is not installed: pipx install pgcli, or make psql'; exit 1; }
	@pgcli $(DB)

LATEST := SELECT checkout_id, click_id, checkout_time, click_time, user_name FROM commerce.attributed_checkouts ORDER BY checkout_time DESC LIMIT 5

.PHONY: watch
watch: ## The five latest rows, every 2 seconds
	@printf '%s\n' '$(LATEST) \watch 2' | $(call PSQL,-T)

.PHONY: verify
verify: build ## Recompute the answer from Kafka with separate code and compare it with the table
	@exec bin/firstclick verify $(ARGS)

.PHONY: doctor
doctor: build ## Examine Kafka and Postgres, each finding with its fix
	@exec bin/firstclick doctor $(ARGS)

##@ Work on it

.PHONY: build
build: ## Build bin/firstclick
	@go build -trimpath $(STAMP) -ldflags '$(LDFLAGS)' -o bin/firstclick .

.PHONY: man
man: build ## Write the manual pages to bin/man/man1 (man -M bin/man firstclick)
	@bin/firstclick man --dir bin/man/man1

.PHONY: dist
dist: ## Archives of a release in dist/: linux and darwin, amd64 and arm64; checksums, SBOM, licences
	@export CGO_ENABLED=0 GOTOOLCHAIN=$(RELEASE_GO); $(call tool,dist,-ldflags '$(LDFLAGS)') && \
		bin/dist -out dist -version '$(VERSION)' -commit '$(COMMIT)' -time '$(COMMIT_TIME)' \
		$(if $(PLATFORMS),-platforms '$(PLATFORMS)')

.PHONY: dist-check
dist-check: ## Build a release twice, in two folders, and compare every byte
	@.ci/dist

.PHONY: images
images: docker ## Get the current digests of the images: docker/images.env
	@docker/images.sh

.PHONY: vuln
vuln: ## Known vulnerabilities in the code that is called, by govulncheck
	@RELEASE_GO=$(RELEASE_GO) .ci/vuln

.PHONY: test
test: ## Every test that needs only Go: in-process Kafka, real Postgres (installed, else downloaded)
	$(call gotest,-shuffle=on -timeout 10m)

.PHONY: race
race: ## The same under the race detector (needs a C compiler)
	$(call gotest,-race -timeout 15m)

# The packages that open sessions with Postgres.
SESSIONS := ./pipeline ./cdc ./audit ./pipeline/sink . ./deadletters ./doctor ./internal/cli ./internal/datagen \
	./internal/pgsession ./migrations ./web ./tools/docstest

.PHONY: hostile
hostile: TESTS := $(if $(filter ./...,$(TESTS)),$(SESSIONS),$(TESTS))
hostile: export FIRSTCLICK_PGTEST = hostile
hostile: export FIRSTCLICK_PGTEST_VERSION = 18
hostile: ## The suites that use Postgres, on the newest version with unusual defaults (downloads it)
	$(call gotest,-timeout 15m)

# What has SQL that depends on the version.
OLDEST := ./pipeline/sink ./cdc ./audit

.PHONY: versions
versions: ## Sink, users mirror and audit on the oldest Postgres (downloads it); hostile has the newest
	FIRSTCLICK_PGTEST_VERSION=13 go test $(RACE) -timeout 15m -run '$(RUN)' $(OLDEST)

.PHONY: realkafka
realkafka: ## The suites against a real Kafka broker (needs Java and Maven) and a real Postgres
	@$(if $(filter-out .,$(RUN)),RUN='$(RUN)') .ci/realkafka

.PHONY: properties
properties: ## The core and the window against brute force, 3,000 random runs each
	go test -timeout 10m -run 'BruteForce|LikePlain' ./join/... -rapid.checks=3000

.PHONY: browser
browser: ## The page in a headless Chromium, with axe-core (installs what is missing; needs npm)
	@.ci/browser

.PHONY: shells
shells: ## Completions in zsh and fish, manual pages in mandoc (installs what is missing)
	@.ci/shells

.PHONY: fuzz
fuzz: ## Every fuzz target for FUZZTIME each (10s)
	@.ci/fuzz

# Build tags of tests that need more than Go.
TAGS := realkafka,prometheus,attack,browser,shells,deploy

.PHONY: lint
lint: ## Rules of the house, go vet, golangci-lint
	@.ci/house
	go vet ./...
	go vet -tags $(TAGS) ./...
	go run $(GOLANGCI) run --allow-parallel-runners --build-tags $(TAGS) ./...
	cd tools && go run $(GOLANGCI) run --allow-parallel-runners --build-tags $(TAGS) ./...

.PHONY: figures
figures: ## Lines of product and tools, lengths of files, functions called once in their package
	@git ls-files -co --exclude-standard --deduplicate '*.go' | go run -C tools $(STAMP) ./house figures

.PHONY: fmt
fmt: ## Format the code and put the imports in order
	go run $(GOLANGCI) fmt ./...
	cd tools && go run $(GOLANGCI) fmt ./...

.PHONY: bench
bench: ## The backlog against bare COPY on real Kafka and Postgres; writes bench/results
	@$(call tool,bench)
	@exec bin/bench $(ARGS)

.PHONY: bench-compare
bench-compare: ## The same, and what has changed since the last committed results
	@$(call tool,bench)
	@exec bin/bench -compare last $(ARGS)

.PHONY: prometheus
prometheus: ## Metrics, alerts and dashboards in a real Prometheus; the compose file's services as processes
	@$(if $(filter-out .,$(RUN)),RUN='$(RUN)') .ci/prometheus

.PHONY: deploy
deploy: ## Check the Kubernetes manifests by their owners' types, the systemd unit by systemd-analyze
	@.ci/deploy

.PHONY: chaos
chaos: ## Break Kafka, Postgres, the network and instances for 3 minutes, then verify; ARGS="-seed 7"
	@$(call tool,chaos)
	@exec bin/chaos $(ARGS)

.PHONY: attack
attack: ## Attack the built binary, and measure what that costs: tools/attack
	go test -C tools -tags attack -count=1 -parallel 4 -timeout 10m -run '$(RUN)' ./attack

.PHONY: ci
ci: ## All that has to pass before a change goes in
	@.ci/run

.PHONY: clean
clean: ## Remove what the targets above have built
	rm -rf bin dist .cache firstclick
	go clean -testcache
