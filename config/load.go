package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/coreos/go-systemd/v22/unit"
)

// Load reads file over the defaults, then file.d/*.conf in the order of their
// names, those that begin with a dot left out; no such folder is no error.
//
// What the files say wrongly is returned all together, each an [*Error]. The
// error of a file that cannot be read keeps its cause, so that a missing one
// can be told with [fs.ErrNotExist].
func Load(file string) (*Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	return load(file, string(text))
}

// LoadDefault is Load for the file that nobody named: if it is missing, that is
// as if it were empty, and its drop-ins count all the same.
func LoadDefault(file string) (*Config, error) {
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	return load(file, string(text))
}

// load reads the text of file over the defaults, and then its drop-ins.
func load(file, text string) (*Config, error) {
	c := Default()
	c.file = file
	faults := c.apply(file, text)
	names, err := dropIns(file + ".d")
	if err != nil {
		faults = append(faults, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			faults = append(faults, fmt.Errorf("cannot read a drop-in: %w", err))
			continue
		}
		faults = append(faults, c.apply(name, string(text))...)
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return c, nil
}

// dropIns lists the *.conf of a folder in the order of their names.
func dropIns(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the drop-ins: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".conf") && name[0] != '.' {
			names = append(names, filepath.Join(dir, name))
		}
	}
	return names, nil
}

// apply sets what the text of one file says and returns all its faults, each an
// *Error.
func (c *Config) apply(file, text string) []error {
	r := reader{config: c}
	var faults []error
	for _, l := range logicalLines(text) {
		if err := r.line(l.text); err != nil {
			faults = append(faults, &Error{File: file, Line: l.number, Section: r.section, Key: r.key, Err: err})
		}
	}
	return faults
}

// reader takes the logical lines of one file in turn.
type reader struct {
	config  *Config
	section string // that we are in, as it is written; "" before the first
	key     string // of the last line; "" if it was none
	skip    bool   // the section's header was refused: its keys are not judged
}

func (r *reader) line(text string) error {
	r.key = ""
	if text[0] == '[' {
		return r.header(text)
	}
	if r.skip {
		return nil
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return errors.New("not plain text; want UTF-8 without NUL bytes")
	}
	name, _, ok := strings.Cut(text, "=")
	if !ok {
		return fmt.Errorf("%.60q is no setting; want KEY=VALUE", text)
	}
	if r.section == "" {
		return orphan(strings.TrimSpace(name))
	}
	key, value, err := option(r.section, text)
	if err != nil {
		return err
	}
	r.key = key
	for _, s := range settings {
		if s.Section != r.section || s.Key != key {
			continue
		}
		if err := s.set(r.config, value); err != nil {
			return fmt.Errorf("cannot use %s= in [%s]: %w", s.Key, s.Section, err)
		}
		return nil
	}
	return unknownKey(r.section, key)
}

// header enters a section.
func (r *reader) header(text string) error {
	r.skip = true
	name, ok := strings.CutSuffix(strings.TrimSpace(text[1:]), "]")
	if !ok {
		return fmt.Errorf("%.60q is no section; want its name in brackets and nothing more", text)
	}
	r.section = name
	for _, s := range settings {
		if s.Section == name {
			r.skip = false
			return nil
		}
	}
	return unknownSection(name)
}

// option has the unit package take one logical line apart. It gets each line by
// itself, for it knows no line numbers; one line is always one option.
func option(section, text string) (key, value string, err error) {
	opts, err := unit.DeserializeOptions(strings.NewReader("[" + section + "]\n" + text))
	if err != nil {
		return "", "", fmt.Errorf("cannot read the line: %w", err)
	}
	return opts[0].Name, joined(opts[0].Value), nil
}
