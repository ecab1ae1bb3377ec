package metrics

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dashboard is Grafana's, as far as it has to fit to the metrics.
type dashboard struct {
	Templating struct{ List []struct{ Name string } }
	Panels     []panel
}

type panel struct {
	ID      int
	Type    string
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr, LegendFormat string }
}

var (
	metricNames = regexp.MustCompile(`\b(?:tiproxy|process)_\w+`)
	variables   = regexp.MustCompile(`\$\{?(\w+)`)
	matchers    = regexp.MustCompile(`(\w+)(?:=~|=)"([^"]*)"`)
	groupings   = regexp.MustCompile(`\bby \((\w+)\)`)
	legends     = regexp.MustCompile(`{{(\w+)}}`)
	ranges      = regexp.MustCompile(`\b(rate|increase)\((\w+)`)
)

func TestDashboardShowsWhatThereIs(t *testing.T) {
	text, err := os.ReadFile("../packaging/grafana/tiproxy.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	known := []string{"__rate_interval"} // Grafana's own
	for _, v := range d.Templating.List {
		known = append(known, v.Name)
	}
	if want := []string{"__rate_interval", "datasource", "instance"}; !slices.Equal(known, want) {
		t.Errorf("variables %q, want %q", known, want)
	}
	for _, v := range variables.FindAllStringSubmatch(string(text), -1) {
		if !slices.Contains(known, v[1]) && v[0] != "$__all" {
			t.Errorf("there is no variable %s", v[0])
		}
	}
	for _, name := range metricNames.FindAllString(string(text), -1) {
		if find(name) == nil {
			t.Errorf("there is no metric %s", name)
		}
	}
	values := labelValues(t)
	for i, p := range d.Panels {
		if p.ID != i+1 || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d, %q: ID %d, %d targets", i+1, p.Title, p.ID, len(p.Targets))
		}
		for _, q := range p.Targets {
			for _, problem := range problems(q.Expr, q.LegendFormat, values) {
				t.Errorf("%q: %s: %s", p.Title, q.Expr, problem)
			}
		}
		for _, other := range d.Panels[:i] {
			a, b := p.GridPos, other.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%q lies on %q", p.Title, other.Title)
			}
		}
	}
}

// Expressions that are made up must be found, or the test above shows nothing.
func TestWrongExpressionsAreFound(t *testing.T) {
	for _, tt := range []struct{ expr, legend, want string }{
		{`sum by (reason) (increase(tiproxy_backend_exits_total{instance=~"$instance", reason=~"ended|failed"}[1h]))`, "{{reason}}", ""},
		{`histogram_quantile(0.5, sum by (le) (rate(tiproxy_backend_start_seconds_bucket{instance=~"$instance"}[1h])))`, "p50", ""},
		{`tiproxy_backend_memory_bytes{instance=~"$instance"}`, "{{instance}}", ""},
		{`1`, "", "no metric"},
		{`tiproxy_backend_ups{instance=~"$instance"}`, "", "there is no tiproxy_backend_ups"},
		{`tiproxy_backend_start_seconds{instance=~"$instance"}`, "", "a histogram has none of this name"},
		{`tiproxy_backend_up_sum{instance=~"$instance"}`, "", "there is no tiproxy_backend_up_sum"},
		{`tiproxy_bytes_total{instance=~"$instance"}`, "", "a counter wants rate or increase"},
		{`rate(tiproxy_backend_up{instance=~"$instance"}[1h])`, "", "a gauge wants no rate"},
		{`tiproxy_backend_state{instance=~"$instance", stat="ready"}`, "", `no label "stat"`},
		{`tiproxy_backend_state{instance=~"$instance", state=~"ready|asleep"}`, "", `"asleep" is no value of state`},
		{`tiproxy_backend_up`, "", "all instances"},
		{`sum by (side) (tiproxy_backend_state{instance=~"$instance"})`, "", `no label "side"`},
		{`tiproxy_backend_up{instance=~"$instance"}`, "{{side}}", `no label "side"`},
		{`sum(tiproxy_backend_up{instance=~"$instance"}`, "", "brackets"},
	} {
		got := strings.Join(problems(tt.expr, tt.legend, labelValues(t)), "; ")
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.expr, got, tt.want)
		}
	}
}

// problems are what is wrong with a query. This is no parser of PromQL: with
// Prometheus's own the program would have to be built with newer versions of Go
// and of its modules.
func problems(expr, legend string, values map[string][]string) (found []string) {
	ranged := map[string]bool{}
	for _, r := range ranges.FindAllStringSubmatch(expr, -1) {
		ranged[r[2]] = true
	}
	labels := []string{"instance"}
	names := metricNames.FindAllString(expr, -1)
	if len(names) == 0 {
		found = append(found, "no metric")
	}
	for _, name := range names {
		f := find(name)
		switch {
		case f == nil:
			found = append(found, "there is no "+name)
			continue
		case f.kind == timing && f.name == name:
			found = append(found, "a histogram has none of this name")
		case f.kind == gauge && ranged[name]:
			found = append(found, "a gauge wants no rate")
		case f.kind != gauge && !ranged[name]:
			found = append(found, "a counter wants rate or increase")
		}
		labels = append(labels, f.label)
		if strings.HasSuffix(name, "_bucket") {
			labels = append(labels, "le")
		}
	}
	used := slices.Concat(groupings.FindAllStringSubmatch(expr, -1), legends.FindAllStringSubmatch(legend, -1), matchers.FindAllStringSubmatch(expr, -1))
	for _, l := range used {
		if !slices.Contains(labels, l[1]) {
			found = append(found, "there is no label \""+l[1]+"\"")
		}
	}
	for _, m := range matchers.FindAllStringSubmatch(expr, -1) {
		for _, v := range strings.Split(m[2], "|") {
			if m[1] != "instance" && !slices.Contains(values[m[1]], v) {
				found = append(found, "\""+v+"\" is no value of "+m[1])
			}
		}
	}
	if strings.Count(expr, `{instance=~"$instance"`) != len(names) {
		found = append(found, "it is about all instances")
	}
	for _, pair := range []string{"()", "{}", "[]"} {
		if strings.Count(expr, pair[:1]) != strings.Count(expr, pair[1:]) {
			found = append(found, "brackets")
		}
	}
	return found
}

// find is the family that a metric belongs to; nil: there is none.
func find(name string) *family {
	for i := range families {
		f := &families[i]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if f.kind == timing && name == f.name+suffix {
				return f
			}
		}
		if name == f.name {
			return f
		}
	}
	return nil
}

// labelValues are all that labels can have.
func labelValues(t *testing.T) map[string][]string {
	t.Helper()
	values := map[string][]string{}
	for _, f := range parsed(t, New(still())) {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				values[l.GetName()] = append(values[l.GetName()], l.GetValue())
			}
		}
	}
	return values
}
