package main_test

import (
	"regexp"
	"strconv"
	"testing"
)

// The collector leaves a small heap alone: it comes when there are 34 MB, of which
// nearly all were never touched.
func TestCollectorLeavesASmallHeapAlone(t *testing.T) {
	p := launch(t, prepare(shortDir(t), "tiproxy", []string{
		"--listen", "127.0.0.1:0", "--dest", "auto", "--connections", "0", "--", "fakecat", "-p", "{port}", "-l", "-k",
	}, "GODEBUG=gctrace=1"))
	addr := p.await(t, `listening at (\S+)$`)[1]
	line := regexp.MustCompile(`^gc (\d+) .* (\d+) MB goal`) // "gctrace" in the documentation of Go's package runtime
	for {
		c := mustConnect(t, addr)
		c.mustTalk(t, "hello")
		c.Close()
		select {
		case said := <-p.lines:
			gc := line.FindStringSubmatch(said)
			if gc == nil || gc[1] == "1" || gc[1] == "2" || gc[1] == "3" { // those of the start do not know of the heap yet
				continue
			}
			if goal, err := strconv.Atoi(gc[2]); err != nil || goal < 34 {
				t.Errorf("%s", said)
			}
			return
		default:
		}
	}
}
