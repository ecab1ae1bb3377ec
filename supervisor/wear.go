package supervisor

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// A child wears out: by age, by memory, or because it falls silent. The owner
// watches for that here; the machine decides what follows.

// weighEvery bounds how often the memory of a tree is looked at: where there
// is no cgroup to ask, the kernel goes through all its pages.
const weighEvery = time.Second

// shorten takes off a random share of n, up to jitter percent, so that many
// machines do not recycle in step. A limit stays a limit: 1 at least.
func shorten(n, jitter int) int {
	if n <= 0 || jitter <= 0 {
		return n
	}
	return max(n-int(float64(n)*float64(jitter)/100*rand.Float64()), 1)
}

// beginAge starts the clocks of a child that has become ready.
func (o *owner) beginAge() {
	gen := o.m.gen
	o.beat(0)
	if o.cfg.AliveInterval > 0 {
		go o.child.checkAlive()
	}
	if limit := o.cfg.RecycleAge; limit != 0 && limit != forever {
		limit = time.Duration(shorten(int(limit), o.cfg.RecycleJitter))
		o.age = time.AfterFunc(limit, func() {
			o.send(worn{recycle{gen}, fmt.Sprintf("recycling it after %v (RecycleAgeSec=)", limit.Round(time.Second))})
		})
	}
}

// endAge stops the clocks of a child that has ended.
func (o *owner) endAge() {
	if o.age != nil {
		o.age.Stop()
		o.age = nil
	}
	if o.watchdog != nil {
		o.watchdog.Stop()
		o.watchdog = nil
	}
}

// weigh looks at the memory of the tree after a lease came back. That may take
// a while, so the answer comes by the inbox.
func (o *owner) weigh(gen uint64) {
	limit := o.cfg.RecycleMemory
	if limit == 0 || o.child == nil || gen != o.m.gen || time.Since(o.weighed) < weighEvery {
		return
	}
	o.weighed = time.Now()
	tree := o.child.tree
	go func() {
		if used := tree.memory(); used > limit {
			o.send(worn{recycle{gen}, fmt.Sprintf("recycling it at %d MiB (RecycleMemory=)", used>>20)})
		}
	}()
}

// beat starts the watchdog's clock anew, or with another limit.
func (o *owner) beat(every time.Duration) {
	if every > 0 {
		o.silence = every
	}
	if o.silence == 0 || o.silence == forever || o.readyAt.IsZero() || o.m.state == Stopping || o.m.state == Frozen {
		return
	}
	if o.watchdog != nil {
		o.watchdog.Stop()
	}
	gen, silence := o.m.gen, o.silence
	o.watchdog = time.AfterFunc(silence, func() {
		o.send(ill{ailing{gen}, fmt.Errorf("its watchdog was silent for %v (WatchdogSec=)", silence)})
	})
}

// fellIll has a child stopped that does not answer any more, unless it is
// being stopped anyway.
func (o *owner) fellIll(in ill) {
	if in.gen != o.m.gen || o.m.failed {
		return
	}
	o.cause = in.cause
	if o.input(in.ailing); !o.m.failed {
		o.cause = nil
	}
}

// freeze stops the processes of an idle child, and offers its memory back.
func (o *owner) freeze() {
	if o.watchdog != nil {
		o.watchdog.Stop()
	}
	o.child.frozen.Store(true)
	if err := o.child.tree.freeze(); err != nil {
		o.emit(NotifyEvent{o.m.gen, err})
	}
	o.emit(FreezeEvent{o.m.gen, o.child.pid, true})
}

// thaw lets them go on.
func (o *owner) thaw() {
	if err := o.child.tree.thaw(); err != nil {
		o.emit(NotifyEvent{o.m.gen, err})
	}
	o.child.frozen.Store(false)
	o.beat(0)
	o.emit(FreezeEvent{o.m.gen, o.child.pid, false})
}
