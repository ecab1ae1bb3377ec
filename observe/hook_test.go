package observe

import (
	"errors"
	"testing"
	"time"

	"github.com/tiproxy/tiproxy/hook"
)

func TestHookEvents(t *testing.T) {
	failed := errors.New("the hook OnReady= failed: exit status 3")
	for _, tt := range []struct {
		event hook.Event
		want  string
	}{
		{hook.RunEvent{Kind: hook.OnReady, After: time.Second}, ""},
		{hook.RunEvent{Kind: hook.OnReady, Err: failed, After: time.Second}, "<4>the hook OnReady= failed: exit status 3\n"},
		{hook.OutputEvent{Kind: hook.OnReady, Line: "50% full\x1b[2J"}, "<6>hook OnReady=: 50% full�[2J\n"},
		{hook.OutputEvent{Kind: hook.OnCrash, Line: "<7>looks"}, "<7>hook OnCrash=: looks\n"},
		{hook.DropEvent{Number: 3}, "<4>3 hooks will not run: those before them take longer than what they are about\n"},
	} {
		if got := observed(func(o *Observer) { o.Hook(tt.event) }); got != tt.want {
			t.Errorf("%T%+v:\n got %q\nwant %q", tt.event, tt.event, got, tt.want)
		}
	}
}
