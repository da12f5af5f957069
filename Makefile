# seatrial. `make` prints what there is to make.
#
# Needed: Go 1.26, make and, for the testbed, root on Linux. Everything else is fetched
# into .deps, which `make clean` takes away again.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.NOTPARALLEL: # the testbed needs the machine to itself; go uses all cores anyway

# A checkout of another user's (a CI's, a container's) must not stop a build.
export GOFLAGS += -buildvcs=false
export CGO_ENABLED = 0

VERSION := $(shell git -c safe.directory='*' describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION) -X seatrial/services/telemetry.Version=$(VERSION)
COMMANDS := ./verifier/cmd/seatrial ./loadgen/cmd/loadgen \
	./services/cmd/api ./services/cmd/worker ./services/cmd/nats-exporter
DEPS := $(CURDIR)/.deps
KUBECONFIG_CLUSTER := $(DEPS)/cluster/kubeconfig
GO_TEST := go test -count=1 -timeout=15m
FUZZTIME ?= 10s
SCRIPTS = $(shell git -c safe.directory='*' ls-files '*.sh' .ci/links .ci/fuzz .ci/proofs)

.PHONY: help
help: ## print this
	@echo 'make TARGET   (seatrial $(VERSION))'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## get the servers into .deps: Valkey of this distribution, the others built from pinned modules
	@deploy/deps/valkey.sh $(DEPS)
	@deploy/deps/servers.sh $(DEPS)

.PHONY: build
build: ## build every command into bin/
	@mkdir -p bin
	go build -ldflags '$(LDFLAGS)' -o bin/ $(COMMANDS)

.PHONY: test
test: root deps build unit check-charts smoke ## set everything up, run all tests, then the @smoke scenario on the real testbed

.PHONY: unit
unit: deps ## run all Go tests; one that lacks a server or a terminal fails
	@mkdir -p reports/test
	@# The package that takes longest goes first, or all others would be done before it begins.
	@SEATRIAL_MUST=1 $(GO_TEST) -json ./verifier/cmd/seatrial ./... 2>&1 | tee reports/test/go-test.json | awk -f .ci/gotest.awk

.PHONY: smoke
smoke: root deps build ## run the @smoke scenario on the real testbed (a minute)
	bin/seatrial run --tags @smoke --report reports/smoke

.PHONY: false-pages
false-pages: root deps build ## ten quiet minutes at the suite's rate: nobody may be called (11 minutes)
	bin/seatrial run --features features/soak --report reports/soak

# What the load of every scenario of chaos-suite and cluster-suite is multiplied by.
LOAD_SCALE ?= 1

.PHONY: chaos-suite
chaos-suite: root deps build ## deploy the testbed, run every scenario, judge, write reports/latest
	bin/seatrial run --load-scale $(LOAD_SCALE) --report reports

SEEDS ?= 1 2 3
.PHONY: proof
proof: root deps build ## run the whole suite with each of SEEDS (1 2 3), then the ten quiet minutes; all must pass (90 minutes)
	@.ci/proof bin/seatrial reports $(SEEDS)

# What kubectl and helm learn of a cluster that is made here is of no use to the user's own, in HOME.
cluster-%: export KUBECACHEDIR := $(DEPS)/cluster/cache

.PHONY: cluster-deps
cluster-deps: root deps build ## get what a cluster is made from into .deps/cluster (20 minutes with cold caches)
	@deploy/cluster/deps/root.sh $(DEPS)
	@deploy/cluster/deps/build.sh $(DEPS)
	@cd deploy/cluster && go build -ldflags '-s -w' -o ../../bin/ ./cmd/cluster ./cmd/images && \
		go build -ldflags '-s -w' -o $(DEPS)/cluster/bin/ ./stand-ins/...
	@bin/images --deps $(DEPS) --bin bin

.PHONY: cluster-up
cluster-up: cluster-deps ## start a real Kubernetes with Chaos Mesh on this machine, without Docker or a registry
	@bin/cluster up

.PHONY: cluster-down
cluster-down: ## end that cluster; nothing is left of it
	@if [ -x bin/cluster ]; then bin/cluster down; else echo 'cluster: none was started from this checkout'; fi

.PHONY: cluster-status
cluster-status: ## show the cluster's pods and latest warnings
	@bin/cluster status

.PHONY: cluster-install
cluster-install: cluster-up ## install the system under trial and the verifier on the cluster, from their charts
	@bin/cluster install

# Which scenarios are run on the cluster, as seatrial run --tags takes them, and which proofs, as go test -run does; all.
CLUSTER_TAGS ?=
PROOFS ?= .

.PHONY: cluster-suite
cluster-suite: cluster-install ## run every scenario on the cluster; those that its kernel cannot inject are inconclusive
	PATH=$(DEPS)/cluster/bin:$$PATH bin/seatrial run --target kubernetes --kubeconfig $(KUBECONFIG_CLUSTER) --allow-unable --report reports/cluster \
		--load-scale $(LOAD_SCALE) $(if $(CLUSTER_TAGS),--tags '$(CLUSTER_TAGS)')

.PHONY: parity
parity: build ## compare the latest runs of chaos-suite and cluster-suite; write reports/parity.md, reports/coverage.md
	bin/seatrial parity reports/latest reports/cluster/latest --out reports/parity.md
	bin/seatrial coverage reports/latest reports/cluster/latest --out reports/coverage.md

.PHONY: cluster-proofs
cluster-proofs: cluster-install ## prove policies, admission, budgets, autoscaling, rollouts with their runbooks, and the janitor on the cluster
	@mkdir -p reports/cluster
	@cd deploy/cluster && PATH="$(DEPS)/cluster/bin:$$PATH" SEATRIAL_MUST=1 SEATRIAL_KUBECONFIG=$(KUBECONFIG_CLUSTER) $(GO_TEST) -timeout=45m -run '$(PROOFS)' -json ./proof 2>&1 | \
		tee ../../reports/cluster/proofs.json | awk -f ../../.ci/gotest.awk; status=$$?; \
		../../.ci/proofs ../../reports/cluster >../../reports/cluster/proofs.md; exit $$status

.PHONY: cluster-unit
cluster-unit: cluster-deps ## run the Go tests that need a real API server
	@mkdir -p reports/test
	@SEATRIAL_MUST=1 SEATRIAL_MUST_API_SERVER=1 $(GO_TEST) -json ./verifier/janitor/... ./verifier/kube/... 2>&1 | tee reports/test/cluster-unit.json | awk -f .ci/gotest.awk

.PHONY: cluster-life
cluster-life: cluster-deps ## start and end the cluster in every way; nothing may be left (2 minutes, none may be running)
	@cd deploy/cluster && SEATRIAL_CLUSTER=$(CURDIR)/bin/cluster $(GO_TEST) -run TestLife -v ./cmd/cluster

.PHONY: kind-up
kind-up: ## start a kind cluster with Chaos Mesh and the system, where there is Docker
	@deploy/kind/up.sh

.PHONY: kind-down
kind-down: ## end that kind cluster
	@deploy/kind/down.sh

.PHONY: bench
bench: root deps build ## measure what is promised; print the table, write reports/bench.json
	@mkdir -p reports
	bin/seatrial bench --out reports/bench.json

.PHONY: bench-cold
bench-cold: root ## measure a fresh clone with empty caches up to a finished suite (its time and a build of everything)
	@.ci/cold

KILLS ?= 50
.PHONY: kill-test
kill-test: root deps ## kill a run at KILLS (50) random moments; nothing may be left (9 minutes)
	SEATRIAL_KILLS=$(KILLS) $(GO_TEST) -timeout=40m -run TestKilledAtAnyMoment -v ./verifier/cmd/seatrial

.PHONY: bugs
bugs: root deps build ## break the services on purpose, bug by bug, and see each found (four to five minutes)
	SEATRIAL_BUGS=1 $(GO_TEST) -run 'TestBugs' -v ./verifier/cmd/seatrial

.PHONY: fuzz
fuzz: ## fuzz every target for FUZZTIME (10s) each
	@.ci/fuzz $(FUZZTIME)

.PHONY: rules
rules: ## write the alert rules anew from deploy/rules/slo and causes*.yaml
	go run ./deploy/rules/cmd/rules

.PHONY: check
check: check-rest check-house check-charts ## everything that needs no testbed: format, vet, staticcheck, modules, rules, scripts, links, floor plan

# What make test has not seen already; for a CI that runs both.
.PHONY: check-rest
check-rest: deps build check-format check-vet check-modules check-rules check-scripts check-links check-suite check-cluster

.PHONY: check-format
check-format:
	@echo 'check: gofmt'
	@bad=$$(git -c safe.directory='*' ls-files -co --exclude-standard '*.go' | while read -r f; do [ ! -e "$$f" ] || echo "$$f"; done | xargs gofmt -l); \
	[ -z "$$bad" ] || { echo "not formatted; run gofmt -w:"; echo "$$bad"; exit 1; }

# The modules that have code of ours; the others pin programs.
MODULES := . deploy/cluster deploy/charts/check

.PHONY: check-vet
check-vet: deps
	@echo 'check: go vet, staticcheck'
	@for m in $(MODULES); do (cd $$m && go vet ./... && $(DEPS)/bin/staticcheck ./...) || exit; done

.PHONY: check-modules
check-modules:
	@echo 'check: go mod verify, go mod tidy'
	@go mod verify >/dev/null
	@for m in $(MODULES); do \
		(cd $$m && go mod tidy -diff) || { echo "$$m: go.mod or go.sum is not tidy; run go mod tidy there"; exit 1; }; done

.PHONY: check-rules
check-rules: deps
	@echo 'check: alert rules, their tests, Alertmanager'
	@go run ./deploy/rules/cmd/rules --check
	@$(DEPS)/bin/promtool check rules deploy/rules/seatrial.rules.yaml deploy/rules/production.rules.yaml >/dev/null
	@$(DEPS)/bin/promtool test rules deploy/rules/*.test.yaml >/dev/null
	@$(DEPS)/bin/amtool check-config deploy/rules/alertmanager.yaml >/dev/null

.PHONY: check-scripts
check-scripts:
	@echo 'check: scripts'
	@for f in $(SCRIPTS); do sh -n "$$f"; done
	@bash -n .ci/run && bash -n .ci/proof

.PHONY: check-links
check-links:
	@echo 'check: links between documents'
	@.ci/links

.PHONY: check-suite
check-suite: build
	@echo 'check: features, experiments and runbooks belong together'
	@bin/seatrial list >/dev/null

.PHONY: check-house
check-house:
	@echo 'check: the house stands as drawn'
	@$(GO_TEST) ./architecture/... ./deploy/rules/...

.PHONY: check-charts
check-charts:
	@echo 'check: charts, rendered and judged without a cluster'
	@cd deploy/charts/check && $(GO_TEST) -json ./... 2>&1 | awk -f ../../../.ci/gotest.awk

.PHONY: check-cluster
check-cluster:
	@echo 'check: what makes the cluster'
	@cd deploy/cluster && { $(GO_TEST) -json ./cmd/... ./image ./node ./stand-ins/... && $(GO_TEST) -json -run "^(TestMatrix|TestWrongFlows)$$" ./proof; } 2>&1 | \
		awk -f ../../.ci/gotest.awk

.PHONY: clean
clean: ## remove bin, .deps and reports
	rm -rf bin .deps reports

.PHONY: root
root:
	@[ "$$(uname -s)" = Linux ] || { echo "make: the local testbed needs Linux (network namespaces); this is $$(uname -s)" >&2; exit 1; }
	@[ "$$(id -u)" = 0 ] || { echo "make: the local testbed needs root (network namespaces, /dev/net/tun); you are $$(id -un). Try: sudo env \"PATH=\$$PATH\" make $(firstword $(MAKECMDGOALS))" >&2; exit 1; }
