package config

import (
	"flag"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the shipped tiproxy.conf anew: go test ./config -run Shipped -update")

const shipped = "../packaging/systemd/tiproxy.conf"

func TestShippedFileIsTheExample(t *testing.T) {
	if *update {
		if err := os.WriteFile(shipped, []byte(Example()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != Example() {
		t.Errorf("%s is not what the table of settings says; run: go test ./config -run Shipped -update", shipped)
	}
}

func TestShippedFileIsDefault(t *testing.T) {
	c, err := Load(shipped)
	if err != nil {
		t.Fatal(err)
	}
	c.file = ""
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("got %+v\nwant %+v", c, Default())
	}
}

// Whoever removes a # before reading on must not change a thing.
func TestExampleUncommentedIsDefault(t *testing.T) {
	text := regexp.MustCompile(`(?m)^#(\w+=)`).ReplaceAllString(Example(), "$1")
	c := Default()
	if faults := c.apply("example", text); faults != nil {
		t.Fatal(faults)
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("got %+v\nwant %+v", c, Default())
	}
	for _, s := range Settings() {
		if !strings.Contains(text, "\n"+s.Key+"="+s.Default+"\n") {
			t.Errorf("no %s= with its default in the example", s.Key)
		}
	}
}

func TestExampleFitsTheScreen(t *testing.T) {
	for line := range strings.Lines(Example()) {
		if len(strings.TrimSuffix(line, "\n")) > exampleWidth {
			t.Errorf("too wide: %s", line)
		}
	}
}

func TestWrap(t *testing.T) {
	if got, want := wrap("aa bbbb dddddddd e", "# ", 8), "# aa\n# bbbb\n# dddddddd\n# e\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := wrap("aa bbb ", "# ", 8), "# aa bbb\n"; got != want {
		t.Errorf("exactly as wide: got %q, want %q", got, want)
	}
}
