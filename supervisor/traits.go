package supervisor

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Surroundings are what the child finds around it. The zero value leaves all
// as it is with us.
type Surroundings struct {
	User  string // name or number; ours needs CAP_SETUID for another one than us
	Group string // name or number; "": the user's own
	// OneGroup leaves User that group alone, without the others of which it is
	// a member.
	OneGroup bool

	Environment      []string // NAME=VALUE, over ours
	EnvironmentFiles []string // files with such lines, over both; with a leading '-' one may be missing

	UMask          *int         // file mode bits that are not given; nil: ours
	Nice           *int         // -20 to 19; nil: ours
	OOMScoreAdjust *int         // -1000 to 1000; nil: ours
	NoFile         *unix.Rlimit // open files; nil: as we were given it
}

// traits are what the launcher changes of itself before it becomes the child.
type traits struct {
	uid, gid  int   // -1: ours
	groups    []int // supplementary; nil with uid -1, and for one group alone
	umask     int   // -1: ours
	nice, oom *int  // nil: ours
	files     *unix.Rlimit
	dieWithUs bool
}

// traits looks the user and group up, each time anew.
func (s *Surroundings) traits() (traits, error) {
	t := traits{uid: -1, gid: -1, umask: -1, nice: s.Nice, oom: s.OOMScoreAdjust, files: s.NoFile}
	if s.UMask != nil {
		t.umask = *s.UMask
	}
	if s.User != "" {
		u, err := lookUser(s.User)
		if err != nil {
			return t, fmt.Errorf("cannot find the user %q (User=): %w", s.User, err)
		}
		t.uid, _ = strconv.Atoi(u.Uid)
		t.gid, _ = strconv.Atoi(u.Gid)
		if t.groups, err = groupsOf(u, s.OneGroup); err != nil {
			return t, fmt.Errorf("cannot find the groups of %q (User=): %w", s.User, err)
		}
	}
	if s.Group != "" {
		gid, err := lookGroup(s.Group)
		if err != nil {
			return t, fmt.Errorf("cannot find the group %q (Group=): %w", s.Group, err)
		}
		// initgroups(3): the user's own group gives way to that one.
		t.groups = slices.DeleteFunc(t.groups, func(one int) bool { return one == t.gid })
		t.gid = gid
	}
	return t, nil
}

func lookUser(name string) (*user.User, error) {
	if _, err := strconv.Atoi(name); err == nil {
		return user.LookupId(name)
	}
	return user.Lookup(name)
}

// groupsOf are the supplementary groups of a user; with one there are none.
func groupsOf(u *user.User, one bool) ([]int, error) {
	if one {
		return nil, nil
	}
	ids, err := u.GroupIds()
	groups := make([]int, len(ids))
	for i, id := range ids {
		groups[i], _ = strconv.Atoi(id)
	}
	return groups, err
}

func lookGroup(name string) (int, error) {
	if gid, err := strconv.Atoi(name); err == nil {
		return gid, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}

// take changes the launcher itself. What needs rights comes before they go.
func (t traits) take() error {
	if t.oom != nil {
		if err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(*t.oom)), 0); err != nil {
			return fmt.Errorf("cannot set OOMScoreAdjust=%d: %w", *t.oom, err)
		}
	}
	if t.nice != nil {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, *t.nice); err != nil {
			return fmt.Errorf("cannot set Nice=%d: %w", *t.nice, err)
		}
	}
	if t.files != nil {
		// syscall's, not unix's: then exec does not put the old one back.
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: t.files.Cur, Max: t.files.Max}); err != nil {
			return fmt.Errorf("cannot set LimitNOFILE=%d:%d: %w", t.files.Cur, t.files.Max, err)
		}
	}
	if t.umask >= 0 {
		syscall.Umask(t.umask)
	}
	return t.become()
}

// become takes on the user and group.
func (t traits) become() error {
	c := t.credential()
	if c == nil {
		return nil
	}
	if !c.NoSetGroups {
		if err := syscall.Setgroups(t.groups); err != nil {
			return fmt.Errorf("cannot become the user %d (User=): %w; tiproxy must run as root for that", t.uid, err)
		}
	}
	if err := syscall.Setgid(int(c.Gid)); err != nil {
		return fmt.Errorf("cannot become the group %d (Group=): %w; tiproxy must run as root for that", t.gid, err)
	}
	if err := syscall.Setuid(int(c.Uid)); err != nil {
		return fmt.Errorf("cannot become the user %d (User=): %w; tiproxy must run as root for that", t.uid, err)
	}
	if t.dieWithUs { // a change of user takes it back (PR_SET_PDEATHSIG(2const))
		return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	}
	return nil
}

// credential is whose a process is to be, its own where nothing else is said; nil:
// it stays as it is. Who stays the same user keeps its groups.
func (t traits) credential() *syscall.Credential {
	if t.uid < 0 && t.gid < 0 {
		return nil
	}
	c := &syscall.Credential{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid()), NoSetGroups: true}
	if t.uid >= 0 && t.uid != os.Getuid() {
		c.Uid, c.NoSetGroups = uint32(t.uid), false
		for _, g := range t.groups {
			c.Groups = append(c.Groups, uint32(g))
		}
	}
	if t.gid >= 0 {
		c.Gid = uint32(t.gid)
	}
	return c
}

// String writes the traits for parseTraits, as an argument of the launcher.
func (t traits) String() string {
	groups := make([]string, len(t.groups))
	for i, g := range t.groups {
		groups[i] = strconv.Itoa(g)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "uid=%d gid=%d groups=%s umask=%d", t.uid, t.gid, strings.Join(groups, ","), t.umask)
	if t.nice != nil {
		fmt.Fprintf(&b, " nice=%d", *t.nice)
	}
	if t.oom != nil {
		fmt.Fprintf(&b, " oom=%d", *t.oom)
	}
	if t.files != nil {
		fmt.Fprintf(&b, " files=%d:%d", t.files.Cur, t.files.Max)
	}
	if t.dieWithUs {
		b.WriteString(" die=1")
	}
	return b.String()
}

// parseTraits reads what String wrote.
func parseTraits(text string) traits {
	t := traits{uid: -1, gid: -1, umask: -1}
	for word := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(word, "=")
		n, _ := strconv.Atoi(value)
		switch name {
		case "uid":
			t.uid = n
		case "gid":
			t.gid = n
		case "groups":
			for g := range strings.SplitSeq(value, ",") {
				if gid, err := strconv.Atoi(g); err == nil {
					t.groups = append(t.groups, gid)
				}
			}
		case "umask":
			t.umask = n
		case "nice":
			t.nice = &n
		case "oom":
			t.oom = &n
		case "files":
			t.files = &unix.Rlimit{}
			fmt.Sscanf(value, "%d:%d", &t.files.Cur, &t.files.Max)
		case "die":
			t.dieWithUs = true
		}
	}
	return t
}
