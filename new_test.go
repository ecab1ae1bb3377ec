package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tiproxy/tiproxy/config"
)

// reread is the configuration that a file with this text makes.
func reread(t *testing.T, text string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path)
	if err != nil {
		t.Fatalf("%v, of\n%s", err, text)
	}
	return cfg
}

// The command is read as it was given, word for word.
func FuzzNewWritesTheCommandAsItIsRead(f *testing.F) {
	for _, words := range []string{
		"nginx\x00-g\x00daemon off;", "sh\x00-c\x00echo \"$HOME\" 'it''s' \\n \\", "a\x00", "a\x00\x00\x00b", "x\x00 \t\r\n\v\f", "x\x00#\x00;\x00[Gate]",
		"x\x00\xff\xc3\x28\x00\ufeff\u2028\ufffd", "x\x00it's\x00{port}\x00%i\x00${A}", "ü\x00\x01\x7f", "@a\x00b", "@\x00", "x\x00\\\nMaxConnections=3",
	} {
		f.Add(words)
	}
	f.Fuzz(func(t *testing.T, joined string) {
		words := strings.Split(joined, "\x00")
		if words[0] == "" {
			return // no command at all
		}
		text, err := settingsText("shop", words, nil)
		if err != nil {
			if words[0][0] != '@' && len(quote(words)) < lineMax-len("Exec=") {
				t.Fatal(err)
			}
			return
		}
		if got := reread(t, text).Backend.Exec; !slices.Equal(got, words) {
			t.Errorf("%q is read as %q, from\n%s", words, got, text)
		}
	})
}

// What a flag says is what its line says, or it is refused.
func FuzzNewWritesSettingsAsTheyAreRead(f *testing.F) {
	all := config.Settings()
	for i, s := range all {
		f.Add(uint(i), s.Default)
	}
	for i, s := range all {
		switch s.Key {
		case "Address", "Environment", "BeforeNext", "WhenFull", "QueueMessage", "Ready":
			for _, value := range []string{
				`A="b c"`, `/run/x\`, "message:5\\r\\n", `log:^up\s$`, ` /bin/true `, "/bin/true \\", "/bin/true\nMaxConnections=7", "# no", "\xff", "x\r",
				`exec:"a b" 'c'`, strings.Repeat("x", lineMax-12), strings.Repeat("x", 3*lineMax), "message:\u00a0",
			} {
				f.Add(uint(i), value)
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint, value string) {
		s := all[which%uint(len(all))]
		meant := config.Default()
		if s.Flag == "" || meant.Set(s.Flag, value) != nil {
			return // refused as on any command line
		}
		text, err := settingsText("shop", nil, []assignment{{s.Flag, value}})
		if err != nil {
			return
		}
		if changed := config.Changed(meant, reread(t, text)); len(changed) > 0 {
			t.Errorf("--%s %q: %v says something else in\n%s", s.Flag, value, changed, text)
		}
	})
}

func TestNewRefusesNames(t *testing.T) {
	for _, name := range []string{"shop", "Shop-2", "a.b_c", strings.Repeat("x", 64)} {
		if err := checkName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", ".", "..", "-x", "_x", ".x", "a b", "a/b", "a@b", "a:b", "a%i", "a\nb", "ü", "tiproxy", strings.Repeat("x", 65)} {
		if checkName(name) == nil {
			t.Errorf("%q is taken for a name", name)
		}
	}
}

// Neither of two files is written if one cannot be.
func TestNewWritesBothFilesOrNone(t *testing.T) {
	for _, there := range []int{0, 1} {
		root := t.TempDir()
		files := []text{{"/a/first", "1"}, {"/b/second", "2"}}
		own := files[there]
		if err := create(filepath.Join(root, own.path), "mine"); err != nil {
			t.Fatal(err)
		}
		err := lay(root, files)
		if err == nil || !strings.Contains(err.Error(), own.path+" is there already") {
			t.Errorf("%s is there: %v", own.path, err)
		}
		if kept, err := os.ReadFile(filepath.Join(root, own.path)); err != nil || string(kept) != "mine" {
			t.Errorf("%s is %q now, %v", own.path, kept, err)
		}
		if other := filepath.Join(root, files[1-there].path); !missing(other) {
			t.Errorf("%s was left", other)
		}
	}
}

func missing(path string) bool {
	_, err := os.Lstat(path)
	return os.IsNotExist(err)
}
