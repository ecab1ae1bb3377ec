# build     the program, build/tiproxy
# man       the manual pages, in build/man; man-check says what mandoc thinks of them
# completions   what completes its command line in bash, fish and zsh, in build/completions
# test      what any user can run
# e2e       the program under a real systemd; as root, flags for the tests in E2E='-run MariaDB'
# deb       the Debian package of the last commit, in build/deb
# deb-test  what lintian, a second build and a machine say of it; as root
# check     form: gofmt, vet, staticcheck
# fuzz      each fuzz target for FUZZTIME
# bench     beside other proxies, as root, into docs/performance.md; QUICK=1: a minute, to try it

FUZZTIME ?= 10s
VERSION = $(shell git describe --always --dirty)

build:
	go build -trimpath -tags nethttpomithttp2 -ldflags "-s -w -X main.version=$(VERSION)" -o build/tiproxy .

# Dated by the last commit, so that one source gives the same bytes.
man: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
man: build
	mkdir -p build/man
	build/tiproxy manual build/man

man-check: man
	mandoc -T lint -W style build/man/*

# Each is called as its shell wants it.
completions: build
	mkdir -p build/completions
	build/tiproxy completion bash >build/completions/tiproxy
	build/tiproxy completion fish >build/completions/tiproxy.fish
	build/tiproxy completion zsh >build/completions/_tiproxy

test:
	go test ./...

e2e: build
	CGO_ENABLED=0 go test -c -tags e2e -o build/e2e.test ./test/e2e
	test/e2e/run $(E2E)

deb:
	DEB_BUILD_OPTIONS=nocheck packaging/deb/build build/deb

deb-test: deb
	DEB_BUILD_OPTIONS=nocheck packaging/deb/try build/deb

check:
	@unformatted=$$(gofmt -d .); test -z "$$unformatted" || { echo "$$unformatted"; exit 1; }
	go vet -tags tmux ./...
	go vet -tags e2e,deb ./test/e2e
	go tool staticcheck -tags tmux ./...
	go tool staticcheck -tags e2e,deb ./test/e2e

fuzz:
	@grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' . | sed 's|/[^/]*:func | |' | while read -r package target; do \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" || exit; \
	done

bench: build
	go build -trimpath -o build/bench ./bench
	build/bench -tiproxy build/tiproxy -revision $(VERSION) $(if $(QUICK),-quick,-results bench/results -docs docs)

clean:
	rm -rf build

.PHONY: build man man-check completions test e2e deb deb-test check fuzz bench clean
