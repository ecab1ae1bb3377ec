package supervisor

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTraitsGoThroughTheLauncher(t *testing.T) {
	for _, want := range []traits{
		{uid: -1, gid: -1, umask: -1},
		{uid: 0, gid: 0, groups: []int{0, 5, 27}, umask: 0o27, nice: new(-5), oom: new(500), files: &unix.Rlimit{Cur: 1024, Max: 524288}, dieWithUs: true},
		{uid: 65534, gid: -1, umask: 0, nice: new(0), oom: new(-1000)},
	} {
		if got := parseTraits(want.String()); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", want, got, want)
		}
	}
}

func TestSurroundings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("# theirs\nB=\"of the file\"\nC=3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	oom, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	adjust, err := strconv.Atoi(strings.TrimSpace(string(oom)))
	if err != nil {
		t.Fatal(err)
	}
	s := Surroundings{
		Environment: []string{"A=1", "B=2", "PATH=" + os.Getenv("PATH")}, EnvironmentFiles: []string{file, "-" + file + ".missing"},
		UMask: new(0o027), Nice: new(5), OOMScoreAdjust: new(adjust + 1), NoFile: &unix.Rlimit{Cur: 300, Max: 400},
	}
	got := outputIn(t, s, "/bin/sh", "-c", `echo "$A|$B|$C"; umask; nice; cat /proc/self/oom_score_adj; ulimit -S -n; ulimit -H -n`)
	want := []string{"1|of the file|3", "0027", "5", strconv.Itoa(adjust + 1), "300", "400"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whoever we are, we may become ourselves.
func TestUserOfOurOwn(t *testing.T) {
	got := outputIn(t, Surroundings{User: strconv.Itoa(os.Getuid()), Group: strconv.Itoa(os.Getgid())},
		"/bin/sh", "-c", `id -u; id -g; echo "$HOME"`)
	if len(got) != 3 || got[0] != strconv.Itoa(os.Getuid()) || got[1] != strconv.Itoa(os.Getgid()) || got[2] == "" {
		t.Errorf("%q", got)
	}
}

// A user has his groups, unless he is to have the one alone.
func TestOneGroup(t *testing.T) {
	all := Surroundings{User: strconv.Itoa(os.Getuid())}
	one := Surroundings{User: all.User, OneGroup: true}
	for _, tt := range []struct {
		s    Surroundings
		want bool // there are others
	}{{all, true}, {one, false}} {
		got, err := tt.s.traits()
		if err != nil || got.gid < 0 || (len(got.groups) > 0) != tt.want {
			t.Errorf("%+v: got %+v, %v", tt.s, got, err)
		}
	}
}

// With Group= a user leaves his own group behind, as with inetd's user.group.
func TestGroupInThePlaceOfTheUsersOwn(t *testing.T) {
	s := Surroundings{User: strconv.Itoa(os.Getuid())}
	own, err := s.traits()
	if err != nil || !slices.Contains(own.groups, own.gid) {
		t.Fatalf("%+v, %v", own, err)
	}
	s.Group = strconv.Itoa(own.gid + 1)
	got, err := s.traits()
	if err != nil || got.gid != own.gid+1 || slices.Contains(got.groups, own.gid) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestSurroundingsThatCannotBe(t *testing.T) {
	for _, tt := range []struct {
		s    Surroundings
		want string
	}{
		{Surroundings{User: "no-such-user"}, `cannot find the user "no-such-user" (User=)`},
		{Surroundings{Group: "no-such-group"}, `cannot find the group "no-such-group" (Group=)`},
		{Surroundings{EnvironmentFiles: []string{"/no/such/file"}}, "cannot read EnvironmentFile=/no/such/file"},
		{Surroundings{NoFile: &unix.Rlimit{Cur: 2, Max: 1}}, "cannot set LimitNOFILE=2:1"},
	} {
		st := open(t, Config{Command: play("stay"), Address: somewhere(), Ready: ReadyNone, Surroundings: tt.s})
		st.begin()
		if e := await(st, func(FailEvent) bool { return true }); !strings.Contains(e.Err.Error(), tt.want) {
			t.Errorf("%v, want %q", e.Err, tt.want)
		}
	}
}

func TestSetAllLeavesItsSourceAlone(t *testing.T) {
	env := append(make([]string, 0, 8), "A=1", "B=2", "C=3")
	got := setAll(env, []string{"A=4", "D=5"})
	if want := []string{"B=2", "C=3", "A=4", "D=5"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if want := []string{"A=1", "B=2", "C=3", ""}; !slices.Equal(env[:4], want) {
		t.Errorf("the source is %q, want %q", env[:4], want)
	}
}

func FuzzEnvironment(f *testing.F) {
	f.Add("A=1\n# x\n;y\nB='2 3'\nC=\"\"\n")
	f.Add("=\n")
	f.Add("A")
	f.Add("\x00=")
	f.Fuzz(func(t *testing.T, text string) {
		env, err := parseEnvironment(text)
		if err != nil {
			return
		}
		for _, v := range env {
			if name, _, ok := strings.Cut(v, "="); !ok || name == "" || strings.ContainsAny(v, "\x00\n") {
				t.Errorf("%q", v)
			}
		}
	})
}
