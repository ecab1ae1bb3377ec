package hook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// stage is a Set whose commands are not processes: they take as long as their
// argument says, and fail at "fail". A "deaf" one takes its time even when it is
// killed.
type stage struct {
	*Set
	also func(Event) // told, too; nil: nobody

	mu   sync.Mutex
	told []string // what was told, an event a line
}

// expired is a context that has ended.
var expired = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func open(commands map[Kind][]string, limit time.Duration) *stage {
	st := &stage{}
	st.Set = New(Config{Commands: commands, Limit: limit, Run: st.play, Events: func(e Event) {
		st.mu.Lock()
		st.told = append(st.told, fmt.Sprint(e))
		st.mu.Unlock()
		if st.also != nil {
			st.also(e)
		}
	}})
	return st
}

func (st *stage) play(ctx context.Context, argv, env []string, output func(string)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	reason := env[slices.IndexFunc(env, func(v string) bool { return strings.HasPrefix(v, "TIPROXY_REASON=") })]
	output(reason)
	if argv[1] == "fail" {
		return errors.New("exit status 3")
	}
	pause, err := time.ParseDuration(argv[1])
	if err != nil {
		return err
	}
	if slices.Contains(argv, "deaf") {
		time.Sleep(pause)
		return context.Cause(ctx)
	}
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("killed: %w", context.Cause(ctx))
	}
}

// want compares what was told so far.
func (st *stage) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	st.mu.Lock()
	defer st.mu.Unlock()
	if !slices.Equal(st.told, want) {
		t.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(st.told, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func because(reason string) Facts { return Facts{Reason: reason} }

func TestBefore(t *testing.T) {
	left := errors.New("the client left")
	for _, tt := range []struct {
		name  string
		argv  []string
		limit time.Duration
		stay  time.Duration // of the client; 0: for long
		want  string
		took  time.Duration
	}{
		{"succeeds", []string{"x", "2s"}, 0, 0, "<nil>", 2 * time.Second},
		{"fails", []string{"x", "fail"}, 0, 0, "the hook BeforeNext= failed: exit status 3", 0},
		{"within its limit", []string{"x", "2s"}, 3 * time.Second, 0, "<nil>", 2 * time.Second},
		{"too long", []string{"/bin/x", "9s"}, 5 * time.Second, 0,
			"BeforeNext=/bin/x took longer than HookTimeoutSec=5s and was killed", 5 * time.Second},
		{"the client leaves", []string{"x", "9s"}, 5 * time.Second, time.Second,
			"the hook BeforeNext= failed: killed: the client left", time.Second},
		{"too long, and cannot be killed", []string{"/bin/x", "20s", "deaf"}, time.Second, 0,
			"the hook BeforeNext=/bin/x could not be killed and is left behind (HookTimeoutSec= is over)", time.Second + killPatience},
		{"too long, and dies slowly", []string{"/bin/x", "3s", "deaf"}, time.Second, 0,
			"BeforeNext=/bin/x took longer than HookTimeoutSec=1s and was killed", 3 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := open(map[Kind][]string{BeforeNext: tt.argv}, tt.limit)
				ctx, leave := context.WithCancelCause(t.Context())
				defer leave(nil)
				if tt.stay > 0 {
					time.AfterFunc(tt.stay, func() { leave(left) })
				}
				began := time.Now()
				err := st.Before(ctx, because("it is its turn"))
				if fmt.Sprint(err) != tt.want || time.Since(began) != tt.took {
					t.Errorf("%v after %v, want %s after %v", err, time.Since(began), tt.want, tt.took)
				}
				if tt.stay > 0 && !errors.Is(err, left) {
					t.Errorf("%v does not wrap the cause", err)
				}
				time.Sleep(time.Minute) // nothing is said by one that was left behind
				st.want(t, "{BeforeNext TIPROXY_REASON=it is its turn}", fmt.Sprintf("{BeforeNext %s %s}", tt.want, tt.took))
			})
		})
	}
}

func TestNothingToRun(t *testing.T) {
	st := open(map[Kind][]string{OnStop: {}}, time.Second)
	if err := st.Before(expired, Facts{}); err != nil {
		t.Error(err)
	}
	st.Fire(OnStop, Facts{})
	st.Fire(OnCrash, Facts{})
	st.Close(t.Context())
	if len(st.told) > 0 {
		t.Errorf("told %q", st.told)
	}
}

func TestSeveralBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := open(map[Kind][]string{BeforeNext: {"x", "2s"}}, 0)
		began := time.Now()
		for range 3 {
			go st.Before(t.Context(), because("turn"))
		}
		st.want(t, slices.Repeat([]string{"{BeforeNext TIPROXY_REASON=turn}"}, 3)...)
		st.Close(t.Context())
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("three took %v", took)
		}
	})
}

func TestFiredRunOneByOneInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := open(map[Kind][]string{OnStart: {"x", "2s"}, OnReady: {"x", "fail"}, OnStop: {"/bin/x", "9s"}}, 5*time.Second)
		began := time.Now()
		st.Fire(OnStart, because("1"))
		st.Fire(OnReady, because("2"))
		st.Fire(OnStop, because("3"))
		st.Fire(OnStart, because("4"))
		if took := time.Since(began); took != 0 {
			t.Errorf("Fire took %v", took)
		}
		st.want(t, "{OnStart TIPROXY_REASON=1}")
		time.Sleep(20 * time.Second)
		all := []string{
			"{OnStart TIPROXY_REASON=1}", "{OnStart <nil> 2s}",
			"{OnReady TIPROXY_REASON=2}", "{OnReady the hook OnReady= failed: exit status 3 0s}",
			"{OnStop TIPROXY_REASON=3}", "{OnStop OnStop=/bin/x took longer than HookTimeoutSec=5s and was killed 5s}",
			"{OnStart TIPROXY_REASON=4}", "{OnStart <nil> 2s}",
		}
		st.want(t, all...)
		if st.serving {
			t.Error("the goroutine is there and has nothing to run")
		}
		st.Fire(OnReady, because("5"))
		st.want(t, append(all, "{OnReady TIPROXY_REASON=5}", "{OnReady the hook OnReady= failed: exit status 3 0s}")...)
	})
}

func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := open(map[Kind][]string{OnStart: {"x", "1s"}}, 0)
		st.Fire(OnStart, because("the first"))
		synctest.Wait() // it runs, and is in the queue no more
		for n := range queueMost + 3 {
			st.Fire(OnStart, because(fmt.Sprint(n)))
		}
		st.Close(t.Context())
		want := []string{"{OnStart TIPROXY_REASON=the first}", "{OnStart <nil> 1s}", "{3}"}
		for n := range queueMost {
			want = append(want, fmt.Sprintf("{OnStart TIPROXY_REASON=%d}", n), "{OnStart <nil> 1s}")
		}
		st.want(t, want...)
	})
}

// Whoever is told may fire.
func TestFireFromAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := open(map[Kind][]string{OnStart: {"x", "1s"}, OnStop: {"x", "1s"}}, 0)
		st.also = func(e Event) {
			if e, is := e.(RunEvent); is && e.Kind == OnStart {
				st.Fire(OnStop, because("then"))
			}
		}
		st.Fire(OnStart, because("first"))
		time.Sleep(3 * time.Second)
		st.want(t, "{OnStart TIPROXY_REASON=first}", "{OnStart <nil> 1s}", "{OnStop TIPROXY_REASON=then}", "{OnStop <nil> 1s}")
	})
}

func TestCloseLetsTheQueueRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := open(map[Kind][]string{BeforeNext: {"x", "1s"}, OnStop: {"x", "4s"}}, 0)
		st.Fire(OnStop, because("1"))
		st.Fire(OnStop, because("2"))
		began := time.Now()
		st.Close(t.Context())
		if took := time.Since(began); took != 8*time.Second {
			t.Errorf("it took %v", took)
		}
		st.Fire(OnStop, because("too late"))
		if err := st.Before(t.Context(), because("too late")); err != ErrClosed {
			t.Errorf("Before: %v", err)
		}
		st.Close(t.Context())
		st.want(t, "{OnStop TIPROXY_REASON=1}", "{OnStop <nil> 4s}", "{OnStop TIPROXY_REASON=2}", "{OnStop <nil> 4s}")
	})
}

func TestCloseWithoutTimeKills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := open(map[Kind][]string{BeforeNext: {"x", "9s"}, OnStop: {"x", "9s"}}, 0)
		st.Fire(OnStop, because("1"))
		st.Fire(OnStop, because("2"))
		synctest.Wait()
		before := make(chan error, 1)
		go func() { before <- st.Before(t.Context(), because("turn")) }()
		synctest.Wait()
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		st.Close(ctx)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
		if err := <-before; !errors.Is(err, ErrClosed) {
			t.Errorf("Before: %v", err)
		}
		slices.Sort(st.told) // both were killed at the same moment
		st.want(t,
			"{BeforeNext TIPROXY_REASON=turn}",
			"{BeforeNext the hook BeforeNext= failed: killed: tiproxy is stopping 3s}",
			"{OnStop TIPROXY_REASON=1}",
			"{OnStop the hook OnStop= failed: killed: tiproxy is stopping 3s}",
			"{OnStop the hook OnStop= failed: tiproxy is stopping 0s}")
	})
}
