package supervisor

import (
	"bufio"
	"context"
	"os/exec"
	"testing"
	"time"
)

// BenchmarkStart tells what a supervised start costs above what the backend
// itself needs until it listens, both measured in turn: overhead-ms is the
// difference of the means.
func BenchmarkStart(b *testing.B) {
	var alone, supervised time.Duration
	for b.Loop() {
		alone += startAlone(b)
		supervised += startSupervised(b)
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / float64(b.N) }
	b.ReportMetric(ms(alone), "alone-ms")
	b.ReportMetric(ms(supervised), "supervised-ms")
	b.ReportMetric(ms(supervised-alone), "overhead-ms")
	b.ReportMetric(0, "ns/op")
}

// startAlone runs the backend until it says that it listens.
func startAlone(b *testing.B) time.Duration {
	addr := somewhere().String()
	began := time.Now()
	cmd := exec.Command("/proc/self/exe", play("listen="+addr, "stay")[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return took
}

// startSupervised has a new supervisor start it for the first asker.
func startSupervised(b *testing.B) time.Duration {
	addr := somewhere()
	s, err := New(Config{
		Command: play("listen="+addr.String(), "stay"), Address: addr,
		StartTimeout: forever, IdleStop: forever, StopTimeout: forever,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Shutdown(expired)
	began := time.Now()
	lease, err := s.Acquire(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	lease.Release()
	return took
}
