package epoll

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// A thread that works for a while was busy for as long.
func TestReadStrain(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := ReadStrain()
	if err != nil {
		t.Fatal(err)
	}
	const work = 50 * time.Millisecond
	begin := time.Now()
	for time.Since(begin) < work {
	}
	after, err := ReadStrain()
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	if busy := after.Busy - before.Busy; busy < work*9/10 || busy > took*11/10 {
		t.Errorf("busy for %v of %v", busy, took)
	}
	if before.Idle == 0 || after.Idle < before.Idle || after.Idle-before.Idle > 2*took*time.Duration(runtime.NumCPU()) {
		t.Errorf("all CPUs were idle for %v, then for %v", before.Idle, after.Idle)
	}
	if after.Thread != before.Thread || after.Thread == 0 {
		t.Errorf("threads %d and %d", before.Thread, after.Thread)
	}
}

func TestReadPair(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for text, want := range map[string][2]float64{
		"71 58000000000 9\n": {71, 58e9}, "350735.47 234388.90\n": {350735.47, 234388.90}, "": {}, "1\n": {}, "a b\n": {},
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a, b, err := readPair(path)
		if got := [2]float64{a, b}; got != want || (err != nil) != (want == [2]float64{}) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, _, err := readPair(path + "/none"); err == nil {
		t.Error("a file that is not there was read")
	}
}
