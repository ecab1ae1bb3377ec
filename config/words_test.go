package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	var tests = []struct {
		text string
		want []string
	}{
		{"", nil},
		{"  \t ", nil},
		{"a", []string{"a"}},
		{" a  b\tc ", []string{"a", "b", "c"}},
		{`'a b' "c d"`, []string{"a b", "c d"}},
		{`'' "" x`, []string{"", "", "x"}},
		{`--name="a b"c`, []string{"--name=a bc"}},
		{`"it's" '"'`, []string{"it's", `"`}},
		{`a\sb \s`, []string{"a b", " "}},
		{`\" \' \\`, []string{`"`, "'", `\`}},
		{`"\"" '\''`, []string{`"`, "'"}},
		{`\a\b\f\n\r\t\v`, []string{"\a\b\f\n\r\t\v"}},
		{`\x41\x9f \101\377`, []string{"A\x9f", "A\xff"}},
		{`\u00e9 \U0001f600`, []string{"é", "😀"}},
		{"é", []string{"é"}},
		{"$PORT {port} %i", []string{"$PORT", "{port}", "%i"}},
	}
	for _, tt := range tests {
		if got, err := split(tt.text); !slices.Equal(got, tt.want) || err != nil {
			t.Errorf("%s: got %q, %v; want %q", tt.text, got, err, tt.want)
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`a 'b`:       "quote ' is open",
		`a "b'`:      `quote " is open`,
		`a\`:         "backslash ends the line",
		`a\q`:        `unknown escape \q`,
		`a\é`:        `unknown escape \é`,
		`\x4`:        "wants 2 digits",
		`\xzz`:       "wants 2 digits",
		`\x+1`:       "wants 2 digits",
		`\12`:        "wants 3 digits",
		`\189`:       "wants 3 digits",
		`\u12`:       "wants 4 digits",
		`\x00`:       "NUL",
		`\000`:       "NUL",
		`\u0000`:     "NUL",
		`\777`:       "no character",
		`\ud800`:     "no character",
		`\U7fffffff`: "no character",
		`\Uffffffff`: "no character",
	} {
		if got, err := split(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v; want an error with %q", text, got, err, want)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, seed := range []string{`/bin/sh -c 'echo "a b"' --x=\x41\101`, `\u00e9\U0001f600\s\\`, `a ''"" b'c'd`, `\`, `'`, "é\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		words, err := split(text)
		if err != nil {
			return
		}
		// Every byte as an escape in quotes: the same words must come back.
		var quoted strings.Builder
		for _, w := range words {
			quoted.WriteByte('"')
			for _, c := range []byte(w) {
				if c == 0 {
					return // in the text itself; lines with NUL do not come so far
				}
				fmt.Fprintf(&quoted, `\x%02x`, c)
			}
			quoted.WriteString(`" `)
		}
		if again, err := split(quoted.String()); !slices.Equal(again, words) || err != nil {
			t.Errorf("%q: got %q, quoted again %q, %v", text, words, again, err)
		}
	})
}
