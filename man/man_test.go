package man

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRender(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"paragraphs", "# NAME\n\none - 1\n\ntwo\nlines\n\nthree\n", ".SH NAME\none \\- 1\n.PP\ntwo lines\n.PP\nthree\n"},
		{"sentences", "One. Two? three!\n", ".PP\nOne.\nTwo?\nthree!\n"},
		{"an item", "`-n`, `--number` *N*\n: How many,\nat most.\n\n  And more.\n",
			".TP\n\\fB\\%\\-n\\fR, \\fB\\%\\-\\-number\\fR \\fI\\%N\\fR\nHow many, at most.\n.IP\nAnd more.\n"},
		{"an example", "## Ex\n\n```\n.a  -b 'c'\n\nd\\e\n```\n", ".SS Ex\n.RS 4\n.nf\n\\&.a  \\-b \\(aqc\\(aq\n\nd\\ee\n.fi\n.RE\n"},
		{"an example in an item", "x\n: y\n\n  ```\n  z\n  ```\n", ".TP\nx\ny\n.IP\n.nf\nz\n.fi\n"},
		{"marks that mean nothing", "a \\* \\` \\< \\\\ b\n", ".PP\na * \\(ga < \\e b\n"},
		{"no request", "'a'\n", ".PP\n\\&'a'\n"},
		{"not ASCII", "3 µs – ~\n", ".PP\n3 \\[u00B5]s \\[u2013] \\(ti\n"},
		{"words that stay whole", "`systemctl edit`\n", ".PP\n\\fB\\%systemctl \\%edit\\fR\n"},
		{"a long line", strings.Repeat("word ", 20), ".PP\n" + strings.TrimSpace(strings.Repeat("word ", 15)) + "\n" + strings.TrimSpace(strings.Repeat("word ", 5)) + "\n"},
	} {
		if got, err := render(c.text); err != nil || got != c.want {
			t.Errorf("%s: got %q, %v\nwant %q", c.name, got, err, c.want)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	for _, text := range []string{"a `b\n", "a *b\n", "a \\b\n", "a\\", "```\na\n", "  ```\n  a\n", "```\n```\n", "a\n: *b\n", "# `a\n", "# a\nb\n", "a\nb\n: c\n"} {
		if got, err := render(text); err == nil {
			t.Errorf("%q became %q", text, got)
		}
	}
	if _, err := render("a\n\na `b\n"); !errors.Is(err, errOpen) || !strings.Contains(err.Error(), "in \"a `b\"") {
		t.Errorf("%v does not say where", err)
	}
}

func TestPlainStandsAsItIs(t *testing.T) {
	for _, text := range []string{"a*b", "`", `\`, `\r\n`, "<!-- a -->", "*.conf and `that`"} {
		if got, err := inline(Plain(text)); err != nil || got != plain(text) {
			t.Errorf("%q: %q, %v, want %q", text, got, err, plain(text))
		}
	}
}

// placesOf are the places of a page.
func placesOf(t *testing.T, p Page) map[string]string {
	t.Helper()
	source, err := sources.ReadFile(p.File() + ".md")
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]string{}
	for line := range strings.Lines(string(source)) {
		if name, is := placeOf(line); is {
			places[name] = "`" + name + "`\n: about it\n"
		}
	}
	return places
}

func TestPagesHaveTheirHeads(t *testing.T) {
	head := Head{time.Date(2026, 11, 21, 23, 59, 0, 0, time.FixedZone("west", -3600)), "1.2"}
	for file, want := range map[string]string{
		"tiproxy.8":      `.TH TIPROXY 8 "2026-11-22" "tiproxy 1.2" "tiproxy"`,
		"tiproxy.7":      `.TH TIPROXY 7 "2026-11-22" "tiproxy 1.2" "tiproxy"`,
		"tiproxy.conf.5": `.TH TIPROXY.CONF 5 "2026-11-22" "tiproxy 1.2" "tiproxy"`,
	} {
		at := slices.IndexFunc(Pages(), func(p Page) bool { return p.File() == file })
		if at < 0 {
			t.Errorf("no page %s", file)
			continue
		}
		text, err := Pages()[at].Write(head, placesOf(t, Pages()[at]))
		if err != nil || !strings.Contains(text, "\n"+want+"\n.SH NAME\n") {
			t.Errorf("%s begins with %.200q, %v; want %s", file, text, err, want)
		}
	}
}

func TestPlacesAndTextsBelongTogether(t *testing.T) {
	page := Pages()[0]
	for _, c := range []struct {
		what   string
		change func(map[string]string)
		says   string
	}{
		{"a text too few", func(p map[string]string) { delete(p, "events") }, "nothing is known for the place <!-- events -->"},
		{"a text too many", func(p map[string]string) { p["other"] = "text" }, "there is no place <!-- other -->"},
		{"a mark left open", func(p map[string]string) { p["events"] = "`open" }, "in \"`open\""},
	} {
		places := placesOf(t, page)
		c.change(places)
		if _, err := page.Write(Head{}, places); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "man/tiproxy.7.md") {
			t.Errorf("%s: %v, want %q", c.what, err, c.says)
		}
	}
	if _, err := fill("<!-- a -->\n<!-- a -->\n", map[string]string{"a": "b"}); err == nil {
		t.Error("a place may stand twice")
	}
}

// Whatever a text says, roff gets only what the package means it to get.
func FuzzRender(f *testing.F) {
	for _, seed := range []string{"# A\n\n.SH b\n", "a\n: b\n\n  c\n", "```\n'x\n```\n", "  ```\n  .so /etc/passwd\n  ```\n", "`a .b` *'c*\n", "\x00 - \xff\n"} {
		f.Add(seed)
	}
	known := []string{".SH ", ".SS ", ".PP", ".TP", ".IP", ".RS 4", ".RE", ".nf", ".fi"}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := render(text)
		if err != nil {
			return
		}
		for line := range strings.Lines(out) {
			is := slices.ContainsFunc(known, func(k string) bool {
				return strings.TrimSuffix(line, "\n") == k || strings.HasSuffix(k, " ") && strings.HasPrefix(line, k)
			})
			if (line[0] == '.' || line[0] == '\'') && !is {
				t.Errorf("%q becomes the request %q", text, line)
			}
		}
	})
}
