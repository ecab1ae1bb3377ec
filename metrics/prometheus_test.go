package metrics

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// parsed is a page of m's, as Prometheus reads it.
func parsed(t *testing.T, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(written(t, m)))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// What is written is what the table says, in Prometheus's eyes.
func TestPrometheusReadsEachFamily(t *testing.T) {
	got := parsed(t, New(still()))
	if len(got) != len(families) {
		t.Errorf("%d families, want %d", len(got), len(families))
	}
	for _, f := range families {
		p := got[f.name]
		if p == nil {
			t.Errorf("%s is not there, or has no metric", f.name)
			continue
		}
		if kind := strings.ToLower(p.GetType().String()); kind != string(f.kind) || p.GetHelp() != f.help {
			t.Errorf("%s: got a %s, %q; want a %s, %q", f.name, kind, p.GetHelp(), f.kind, f.help)
		}
		for _, m := range p.GetMetric() {
			var label string
			for _, l := range m.GetLabel() {
				label += l.GetName()
			}
			if label != f.label {
				t.Errorf("%s has the label %q, want %q", f.name, label, f.label)
			}
		}
	}
}

// The rules of promtool check metrics.
func TestNamesFollowTheConventions(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(written(t, New(still())))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
