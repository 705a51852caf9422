# Everything here works on a fresh clone with Go and make; what else it needs, it builds into
# .tools/.
.NOTPARALLEL:
.SUFFIXES:

NAME := otelcol-smtpfailure
BINARY := bin/$(NAME)
TOOLS := actionlint builder compat cyclonedx-gomod go-licenses golangci-lint goreleaser govulncheck mdatagen
# The servers of other projects that the tests run.
SERVERS := prometheus promtool loki
TRANSFORMATIONS := test/transformations/node_modules
# Those with code of ours.
CODE := . internal/tools test
MODULES := $(CODE) test/bench/stock test/servers/prometheus
SOURCES := $(shell find receiver internal -path internal/tools -prune -o -name '*.go' ! -name '*_test.go' -print)

# Packagers that build outside of a git checkout say which release they build.
VERSION ?= $(shell scripts/version.sh)
# Those that go into the image.
CERTIFICATES ?= /etc/ssl/certs/ca-certificates.crt
GORELEASER_FLAGS := --snapshot
# How long `make fuzz` stays with each target.
FUZZTIME ?= 10s

# A go.work of the developer's would put other versions in place of the ones that are pinned here.
export GOWORK := off

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: $(BINARY) ## Build the collector distribution, bin/otelcol-smtpfailure

.PHONY: run
run: build ## Build, then start the collector with the quickstart configuration
	@printf '\nOnce the collector is ready, send it a failure report from another terminal (Ctrl-C stops it):\n\n'
	@grep '^curl' examples/quickstart/send.sh
	@echo
	@exec $(BINARY) --config examples/quickstart/config.yaml

.PHONY: test
test: ## Run the tests, with the race detector where there is a C compiler, and print the coverage
	@scripts/test.sh
	@# -count=1: they read files of other modules, of which the test cache knows nothing.
	cd internal/tools && go test -count=1 ./...
	cd test && go test -count=1 ./bench ./compose ./dashboard ./pictures

.PHONY: exhaustive
exhaustive: ## Run the long form of tests that make test shortens, as the nightly workflow does
	go test -count=1 -timeout 30m -run '^TestEveryByteCounts$$' ./internal/signature -exhaustive
	go test -race -count=1 -timeout 30m ./internal/ledger -exhaustive
	go test -count=1 -timeout 30m ./internal/webhook -exhaustive
	go test -count=1 -run '^TestHostileTextIsBounded$$' ./internal/privacy -exhaustive
	go test -race -count=1 -timeout 30m -run '^TestConcurrentReportsAreAllCounted$$' ./receiver/smtpfailurereceiver -exhaustive
	go test -count=1 -timeout 30m -run '^TestMemoryAndDiskAreBounded$$' ./receiver/smtpfailurereceiver -exhaustive

.PHONY: e2e
e2e: build $(SERVERS:%=.tools/%) transformations ## Run the tests of the built distribution, with a real Prometheus, Loki and Kafka
	cd test/e2e && go test -count=1 -timeout 30m -skip '^Test(Day|Faults|DiskFull|HangingStore|TwoProcesses)$$' ./...
	cd test/e2e && go test -count=1 -timeout 10m -v -run '^TestDay$$' .

.PHONY: rules
rules: .tools/promtool ## Check the rules and alerts, and run their tests
	.tools/promtool check rules examples/prometheus/rules.yaml examples/prometheus/alerts.yaml
	.tools/promtool test rules examples/prometheus/tests/*.yaml

.PHONY: faults
faults: build ## Kill it, fail its sink and its store again and again; LONG=1 for longer, SEED=n to repeat
	cd test/e2e && go test -count=1 -v -timeout 60m -run '^Test(Faults|DiskFull|HangingStore|TwoProcesses)$$' . $(if $(LONG),-faults.long) $(if $(SEED),-faults.seed=$(SEED))

.PHONY: pictures
pictures: build .tools/prometheus .tools/loki ## Draw the pictures in docs/images anew, from a day played in eight minutes
	cd test/pictures && go run .

# Grafana's transformations, for the test of the dashboard's tables. Where there is no npm, that
# test is skipped.
.PHONY: transformations
transformations:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(TRANSFORMATIONS); \
		else echo "There is no npm, so the dashboard's tables are not tested."; fi

$(TRANSFORMATIONS): $(addprefix test/transformations/,package.json package-lock.json .npmrc)
	cd test/transformations && npm ci
	@touch $@

.PHONY: compat
compat: .tools/builder .tools/compat ## Build and test the receiver with the oldest and the newest collector; LISTED=v0.999.0 for one more
	@LISTED='$(LISTED)' scripts/compat.sh

.PHONY: bench
bench: build ## Run the benchmarks, and compare whole processes: a bare server, this receiver, the stock pipeline
	go test -run '^$$' -bench . -benchmem ./...
	cd test/bench && go run .

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (10s)
	@FUZZTIME='$(FUZZTIME)' scripts/fuzz.sh

.PHONY: lint
lint: .tools/golangci-lint .tools/actionlint ## Check formatting, go.mod files, vet, linters and workflows
	.tools/actionlint
	@for module in $(MODULES); do \
		(cd $$module && echo "go.mod of $$module" && go mod tidy -diff && go mod verify) || exit 1; \
	done
	@for module in $(CODE); do \
		(cd $$module && echo "Go code of $$module" && go vet ./... && $(CURDIR)/.tools/golangci-lint run ./...) || exit 1; \
	done

.PHONY: fmt
fmt: .tools/golangci-lint ## Format the Go code and tidy the go.mod files
	.tools/golangci-lint fmt docs examples internal receiver test
	@for module in $(MODULES); do (cd $$module && go mod tidy) || exit 1; done

.PHONY: generate
generate: .tools/mdatagen .tools/golangci-lint ## Make code, documentation.md and the dashboard from metadata.yaml
	find receiver -name 'generated_*' -type f -exec rm -f {} +
	cd receiver/smtpfailurereceiver && $(CURDIR)/.tools/mdatagen metadata.yaml
	.tools/golangci-lint fmt $$(find receiver -name 'generated_*.go')
	cd test && go run ./dashboard

.PHONY: generate-check
generate-check: .tools/mdatagen .tools/golangci-lint ## Check that what is generated is up to date
	@MAKE='$(MAKE)' scripts/generate-check.sh

.PHONY: snapshot
snapshot: build/licenses .tools/goreleaser .tools/cyclonedx-gomod ## Make what a release consists of in dist/, but for signatures; PLATFORMS=linux/amd64 for that one alone
	@VERSION="$$(cat build/version)" PLATFORMS='$(PLATFORMS)' .tools/goreleaser release --clean $(GORELEASER_FLAGS)
	@cp $(CERTIFICATES) dist/ca-certificates.crt

.PHONY: release
release: GORELEASER_FLAGS := --skip=publish
release: snapshot ## The same for the tag that is checked out

.PHONY: packages
packages: ## Install and start the package and the image that `make snapshot` made, with dpkg and buildah
	cd test/e2e && go test -count=1 -v -run '^(TestRelease|TestPackage|TestImage)$$' . -packages

.PHONY: licenses
licenses: build/generated .tools/go-licenses ## List the licences of all dependencies in docs/licenses.md
	@scripts/licenses.sh

.PHONY: licenses-check
licenses-check: build/generated .tools/go-licenses ## Check that list, and that every licence is one of those allowed
	@scripts/licenses.sh check

.PHONY: vuln
vuln: build/generated .tools/govulncheck ## Look for known vulnerabilities; VULNDB=file:///DIRECTORY without a network
	@VULNDB='$(VULNDB)' scripts/vuln.sh

.PHONY: check
check: lint generate-check licenses-check test build rules e2e faults ## Run all the checks that give the same result tomorrow
	$(MAKE) snapshot PLATFORMS=linux/amd64
	$(MAKE) packages

.PHONY: clean
clean: ## Remove all that was built
	rm -rf .tools bin build dist coverage.out $(TRANSFORMATIONS)

$(BINARY): build/generated scripts/compile.sh $(SOURCES)
	@echo "Building $@ $$(cat build/version). The first build compiles the whole collector and takes minutes, later ones seconds."
	@# Not by ocb, which is silent until it is done.
	@scripts/compile.sh $@
	@echo "Built $@ $$(cat build/version)."

# The sources of the distribution, which ocb makes in build/. It takes what its manifest says from
# the environment too.
build/generated: builder-config.yaml go.mod go.sum build/version .tools/builder
	@env dist.version="$$(cat build/version)" .tools/builder --config builder-config.yaml --skip-compilation --skip-strict-versioning=false
	@touch $@

# The texts of the licences of what goes into the distribution, and the sources where a licence asks
# for them.
build/licenses: build/generated .tools/go-licenses scripts/licenses.sh
	@scripts/licenses.sh texts
	@touch $@

# Written only when it differs, so that the binary is linked again only when its version changes.
build/version: FORCE
	@mkdir -p build
	@version='$(VERSION)'; [ "$$(cat $@ 2>/dev/null)" = "$$version" ] || echo "$$version" > $@

.tools/actionlint: PACKAGE := github.com/rhysd/actionlint/cmd/actionlint
.tools/builder: PACKAGE := go.opentelemetry.io/collector/cmd/builder
.tools/compat: PACKAGE := ./compat
.tools/cyclonedx-gomod: PACKAGE := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod
.tools/go-licenses: PACKAGE := github.com/google/go-licenses/v2
.tools/golangci-lint: PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
.tools/goreleaser: PACKAGE := github.com/goreleaser/goreleaser/v2
.tools/govulncheck: PACKAGE := golang.org/x/vuln/cmd/govulncheck
.tools/mdatagen: PACKAGE := go.opentelemetry.io/collector/cmd/mdatagen

.tools/prometheus: PACKAGE := github.com/prometheus/prometheus/cmd/prometheus
.tools/promtool: PACKAGE := github.com/prometheus/prometheus/cmd/promtool
.tools/loki: PACKAGE := github.com/grafana/loki/v3/cmd/loki

$(TOOLS:%=.tools/%): MODULE := internal/tools
$(TOOLS:%=.tools/%): internal/tools/go.mod internal/tools/go.sum
.tools/compat: $(filter-out %_test.go,$(wildcard internal/tools/compat/*.go))
.tools/prometheus .tools/promtool: MODULE := test/servers/prometheus
.tools/prometheus .tools/promtool: test/servers/prometheus/go.mod test/servers/prometheus/go.sum
.tools/loki: MODULE := test/servers/loki
.tools/loki: test/servers/loki/go.mod test/servers/loki/go.sum

$(TOOLS:%=.tools/%) $(SERVERS:%=.tools/%):
	@echo "Building $@; the first time takes some minutes."
	@cd $(MODULE) && CGO_ENABLED=0 go build -trimpath -o $(CURDIR)/$@ $(PACKAGE)
	@touch $@

.PHONY: FORCE
FORCE:
