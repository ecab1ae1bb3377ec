package main

import (
	"errors"
	"os"
	"os/signal"

	"github.com/tiproxy/tiproxy/config"
	"github.com/tiproxy/tiproxy/observe"
	"golang.org/x/sys/unix"
)

// reloadOnHangUp reads the configuration again at each SIGHUP, and answers how
// to end that.
func (s *service) reloadOnHangUp(o *observe.Observer) (end func()) {
	if s.reread == nil {
		return func() {}
	}
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGHUP)
	go func() {
		for range ch {
			o.Reloaded(s.reload())
		}
	}()
	return func() {
		signal.Stop(ch)
		close(ch)
	}
}

// reload takes over what has changed in the sections about clients, and tells
// what that is, and what counts only from the next start. With an error
// everything stays as it was.
func (s *service) reload() (changed, later []string, err error) {
	fresh, err := s.reread()
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range config.Changed(s.cfg, fresh) {
		if key.Live() {
			changed = append(changed, key.String())
		} else {
			later = append(later, key.String())
		}
	}
	s.apply(s.cfg.With(fresh))
	return changed, later, nil
}

// set changes one setting until the next reload or start.
func (s *service) set(key, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.cfg.Clone()
	if err := next.Put(key, value); err != nil {
		return err
	}
	if err := next.Check(); err != nil && !errors.Is(err, config.ErrNoBackend) {
		return err
	}
	s.apply(next)
	return nil
}

// apply has the rules of cfg hold from now on; s.mu is held.
func (s *service) apply(cfg *config.Config) {
	s.cfg = cfg
	s.proxy.Configure(rulesOf(cfg))
}
