# build     the program, build/tiproxy
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
	go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o build/tiproxy .

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

.PHONY: build test e2e deb deb-test check fuzz bench clean
