# build   the program, build/tiproxy
# test    what any user can run
# e2e     the program under a real systemd; as root, flags for the tests in E2E='-run MariaDB'
# check   form: gofmt, vet, staticcheck
# fuzz    each fuzz target for FUZZTIME

FUZZTIME ?= 10s
VERSION = $(shell git describe --always --dirty)

build:
	go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o build/tiproxy .

test:
	go test ./...

e2e: build
	CGO_ENABLED=0 go test -c -tags e2e -o build/e2e.test ./test/e2e
	test/e2e/run $(E2E)

check:
	@unformatted=$$(gofmt -d .); test -z "$$unformatted" || { echo "$$unformatted"; exit 1; }
	go vet ./...
	go vet -tags e2e ./test/e2e
	go tool staticcheck ./...
	go tool staticcheck -tags e2e ./test/e2e

fuzz:
	@grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' . | sed 's|/[^/]*:func | |' | while read -r package target; do \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" || exit; \
	done

clean:
	rm -rf build

.PHONY: build test e2e check fuzz clean
