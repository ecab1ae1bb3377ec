package config

import (
	"errors"
	"fmt"
	"maps"
)

// Why Put refuses. The errors say what to do.
var (
	ErrUnknown = errors.New("no such setting")
	ErrFixed   = errors.New("counts only from the next start")
)

// Live tells whether the setting can change while tiproxy runs: those about
// clients can, those about the backend and tiproxy itself cannot.
func (s Setting) Live() bool { return s.Section == "Gate" || s.Section == "Access" }

// String is the setting as its file names it: "[Gate] Rate=".
func (s Setting) String() string { return "[" + s.Section + "] " + s.Key + "=" }

// Changed lists the settings that say something else in b than in a.
func Changed(a, b *Config) (all []Setting) {
	for _, s := range settings {
		if a.said[s.String()] != b.said[s.String()] {
			all = append(all, s)
		}
	}
	return all
}

// Clone is a Config of its own.
func (c *Config) Clone() *Config {
	d := *c
	d.said = maps.Clone(c.said)
	return &d
}

// With is c with the live settings of fresh.
func (c *Config) With(fresh *Config) *Config {
	d := c.Clone()
	d.Gate, d.Access = fresh.Gate, fresh.Access
	for _, s := range settings {
		if s.Live() {
			d.said[s.String()] = fresh.said[s.String()]
		}
	}
	return d
}

// Put writes one live setting, named by its key, over all that was said of it.
// If it fails c is as it was. It fails with ErrUnknown, ErrFixed, or with what is
// wrong with the value, which does not name the setting.
func (c *Config) Put(key, value string) error {
	fixed := false
	for _, s := range settings {
		switch {
		case s.Key != key:
		case !s.Live():
			fixed = true
		default:
			next := c.Clone()
			err := s.set(next, "")
			if err == nil {
				err = s.set(next, value)
			}
			if err == nil {
				*c = *next
			}
			return err
		}
	}
	if fixed {
		return fmt.Errorf("%s= %w: write it %s, and restart tiproxy", key, ErrFixed, c.whichFileFor(key))
	}
	return fmt.Errorf("%w as %.60q; %s", ErrUnknown, key+"=", suggestion(key, keys(""), "\"%s=\""))
}

// whichFileFor tells where a setting is to be written.
func (c *Config) whichFileFor(key string) string {
	return "in [" + sectionOf(key) + "] " + c.whichFile()
}

// note remembers what was said of a setting; its default takes that back.
func (c *Config) note(s Setting, value string) {
	if c.said == nil {
		c.said = map[string]string{}
	}
	if value == "" || value == s.Default {
		delete(c.said, s.String())
		return
	}
	if old := c.said[s.String()]; old != "" && s.isList() {
		value = old + "\n" + value
	}
	c.said[s.String()] = value
}
