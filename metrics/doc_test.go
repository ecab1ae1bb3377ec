package metrics

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew: go test ./metrics -run MetricsDoc -update")

const metricsDoc = "../docs/metrics.md"

const docHead = `# The metrics of tiproxy

<!-- Written by: go test ./metrics -run MetricsDoc -update -->

tiproxy tells its numbers to Prometheus, as text at ` + "`/metrics`" + ` of its control socket:

    curl --unix-socket /run/tiproxy/control.sock http://tiproxy/metrics

Counters begin at 0 when tiproxy is started, as it is by the first client after it has exited for idleness:
rate() and increase() see to that. Labels take their values from short lists: no client is named, and the number of
lines does not grow.

A Grafana dashboard that shows them is packaging/grafana/tiproxy.json: import it, and choose the data source.

Questions that they answer:

    histogram_quantile(0.95, rate(tiproxy_connection_wait_seconds_bucket[5m]))     how long clients wait
    tiproxy_connections_waiting > 0 and tiproxy_connections_active == 0            nobody inside, and still somebody waits
    increase(tiproxy_connections_total{outcome="unserved"}[10m]) > 0               some met no backend
    increase(tiproxy_backend_exits_total{reason="failed"}[1h]) > 3                 the backend fails again and again
    process_open_fds / process_max_fds > 0.8                                       LimitNOFILE= is nearly used up

## Metrics

Names, labels and their values stay as they are; a new version may add some.

| name | type | labels | meaning |
|---|---|---|---|
`

// doc is docs/metrics.md as the families, and what they write, say it.
func doc(t *testing.T) string {
	t.Helper()
	from := still()
	from.Version = "…"
	written := parsed(t, New(from))
	var b strings.Builder
	b.WriteString(docHead)
	for _, f := range families {
		var values []string
		for _, m := range written[f.name].GetMetric() {
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
		}
		label := ""
		if f.label != "" {
			label = fmt.Sprintf("`%s`: %s", f.label, strings.Join(values, ", "))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name, f.kind, label, f.help)
	}
	ends := make([]string, len(bounds))
	for i, end := range bounds {
		ends[i] = decimal(end.Seconds())
	}
	fmt.Fprintf(&b, "\nThe buckets of all histograms end at %s and +Inf seconds (label `le`).\n", strings.Join(ends, ", "))
	return b.String()
}

func TestMetricsDoc(t *testing.T) {
	want := doc(t)
	if *update {
		if err := os.WriteFile(metricsDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(metricsDoc)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != want {
		t.Errorf("%s is not what the table says; run: go test ./metrics -run MetricsDoc -update", metricsDoc)
	}
}
