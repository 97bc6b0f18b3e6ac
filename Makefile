# Yatagarasu. `make help` lists the targets.

GO      ?= go
BIN     := $(CURDIR)/bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# Pinned tools. A stamp names the version, so that a new one is installed.
MINIO       := github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
VERSITYGW   := github.com/versity/versitygw/cmd/versitygw@v1.8.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

stamp = $(BIN)/.$(1)-$(notdir $(subst @,-,$(2)))
MINIO_STAMP       := $(call stamp,minio,$(MINIO))
VERSITYGW_STAMP   := $(call stamp,versitygw,$(VERSITYGW))
STATICCHECK_STAMP := $(call stamp,staticcheck,$(STATICCHECK))

FUZZTIME  ?= 30s
BENCHTIME ?= 1s
BENCH     ?= .
MIN_COVERAGE := 90

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: build
build: ## build bin/yatagarasu
	@mkdir -p $(BIN)
	$(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN)/yatagarasu .

.PHONY: run
run: build $(VERSITYGW_STAMP) ## run the gateway before a real S3 server over a demo folder; DIR=/some/folder serves that one
	@$(GO) build -o $(BIN)/demo ./loadtest/demo
	@exec $(BIN)/demo $(if $(DIR),-dir "$(DIR)")

.PHONY: smoke
smoke: build $(VERSITYGW_STAMP) ## start what `make run` starts, request what it prints, compare, stop
	@$(GO) build -o $(BIN)/demo ./loadtest/demo
	@exec $(BIN)/demo -once $(if $(DIR),-dir "$(DIR)")

.PHONY: test
test: lint tools smoke ## everything that must hold: linters, race detector, real S3 servers, allocation guards, coverage
	@echo "race detector:"
	$(GO) test -race -short -timeout 30m ./...
	@echo "without it, with allocation guards and coverage:"
	@$(GO) test -v -cover -timeout 30m ./... > $(BIN)/test.log 2>&1; code=$$?; \
	grep -E '^(ok|FAIL|---|panic:|\?)|^ +--- FAIL|^\s+\S+_test\.go:[0-9]+: |no test files' $(BIN)/test.log | grep -vE '^(---|=== ).*PASS' || true; \
	test $$code -eq 0 || { echo "the whole output is in bin/test.log"; }; \
	awk -v min=$(MIN_COVERAGE) '/^ok .*coverage:/ { for (i = 1; i < NF; i++) if ($$i == "coverage:") { c = $$(i+1); sub("%", "", c); \
		if ($$2 ~ /^yatagarasu\/(gateway|pool|sign)/ && c + 0 < min) { print $$2 ": coverage " c " % is below " min " %"; bad = 1 } } } END { exit bad }' $(BIN)/test.log || code=1; \
	echo "$$(grep -cE '^ *--- PASS' $(BIN)/test.log) passed, $$(grep -cE '^ *--- FAIL' $(BIN)/test.log) failed"; \
	exit $$code

.PHONY: lint
lint: $(STATICCHECK_STAMP) ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "gofmt would change: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(BIN)/staticcheck ./...

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (30s), and a million signatures against two oracles
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "== $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done
	SIGN_CASES=1000000 $(GO) test -count=1 -timeout 20m -run 'TestSignMatchesOracles' -v ./sign

.PHONY: bench
bench: ## run the benchmarks; BENCH=regexp, BENCHTIME=1s
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem ./...

.PHONY: memory
memory: build $(VERSITYGW_STAMP) ## measure the gateway's memory over a 10 GB download and over 1,000 downloads at once
	$(GO) run ./loadtest/memory

.PHONY: tools
tools: $(MINIO_STAMP) $(VERSITYGW_STAMP) $(STATICCHECK_STAMP) ## install the S3 servers and linters for tests into bin/, at pinned versions

define install
	@mkdir -p $(BIN)
	@echo "installing $(2) (once; compiles for a while)"
	GOBIN=$(BIN) $(GO) install $(2)
	@rm -f $(BIN)/.$(1)-*
	@touch $@
endef

$(MINIO_STAMP):
	$(call install,minio,$(MINIO))

$(VERSITYGW_STAMP):
	$(call install,versitygw,$(VERSITYGW))

$(STATICCHECK_STAMP):
	$(call install,staticcheck,$(STATICCHECK))

.PHONY: clean
clean: ## remove bin/
	rm -rf $(BIN)
