package man

import (
	"errors"
	"fmt"
	"strings"
)

// width is the longest line of a page in bytes, where words allow: mandoc -Tlint
// wants 80 at most.
const width = 78

// fence stands before and behind what is shown as it is.
const fence = "```"

// render turns Markdown into the requests and macros of man(7).
func render(text string) (string, error) {
	var w writer
	for b := range blocks(text) {
		if err := w.block(b); err != nil {
			return "", fmt.Errorf("%w, in %.60q", err, strings.TrimSpace(b))
		}
	}
	return w.out.String(), nil
}

// blocks are what stands between empty lines; what is fenced in is one.
func blocks(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		var block strings.Builder
		fenced := false
		for line := range strings.Lines(text) {
			if strings.TrimSpace(line) == fence {
				fenced = !fenced
			}
			if strings.TrimSpace(line) != "" || fenced {
				block.WriteString(line)
				continue
			}
			if block.Len() > 0 && !yield(block.String()) {
				return
			}
			block.Reset()
		}
		if block.Len() > 0 {
			yield(block.String())
		}
	}
}

// writer makes one page.
type writer struct {
	out    strings.Builder
	headed bool // a heading was the last: a paragraph begins there without a macro
}

// block writes one of them.
func (w *writer) block(text string) error {
	text = strings.TrimRight(text, "\n")
	stripped, inItem := outdent(text)
	head, body, isItem := strings.Cut(text, "\n: ")
	switch {
	case strings.HasPrefix(stripped, fence):
		return w.example(stripped, inItem)
	case strings.HasPrefix(text, "## "):
		return w.heading("SS", text[3:])
	case strings.HasPrefix(text, "# "):
		return w.heading("SH", text[2:])
	case isItem:
		return w.item(head, body)
	case inItem:
		w.out.WriteString(".IP\n")
		return w.prose(stripped)
	}
	if !w.headed {
		w.out.WriteString(".PP\n")
	}
	return w.prose(text)
}

// outdent takes two spaces from the head of each line, if all have them.
func outdent(text string) (stripped string, are bool) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		rest, is := strings.CutPrefix(line, "  ")
		if !is && strings.TrimSpace(line) != "" {
			return text, false
		}
		b.WriteString(rest)
	}
	return b.String(), true
}

func (w *writer) heading(macro, text string) error {
	text, err := line(text)
	w.headed = true
	w.out.WriteString("." + macro + " " + text + "\n")
	return err
}

func (w *writer) item(head, body string) error {
	head, err := line(head)
	if err != nil {
		return err
	}
	w.out.WriteString(".TP\n" + guard(head) + "\n")
	return w.prose(body)
}

// line is inline for what has to be one.
func line(text string) (string, error) {
	if strings.TrimSpace(text) == "" || strings.Contains(text, "\n") {
		return "", errors.New("a heading, or the head of an item, is no line of its own")
	}
	return inline(text)
}

// example writes what is fenced in, line by line.
func (w *writer) example(text string, inItem bool) error {
	begin, end := ".PP\n.RS 4\n.nf\n", ".fi\n.RE\n"
	if inItem {
		begin, end = ".IP\n.nf\n", ".fi\n"
	}
	if w.headed {
		begin = strings.TrimPrefix(begin, ".PP\n")
	}
	lines := strings.Split(text, "\n")
	if len(lines) < 3 || lines[0] != fence || lines[len(lines)-1] != fence {
		return fmt.Errorf("%s wants lines of its own before and behind something", fence)
	}
	w.out.WriteString(begin)
	for _, line := range lines[1 : len(lines)-1] {
		w.out.WriteString(guard(literal(line)) + "\n")
	}
	w.out.WriteString(end)
	w.headed = false
	return nil
}

// prose fills lines with words. Each sentence begins a line, which is how roff
// knows where one ends.
func (w *writer) prose(text string) error {
	text, err := inline(text)
	w.headed = false
	line := ""
	flush := func() {
		if line != "" {
			w.out.WriteString(guard(line) + "\n")
		}
		line = ""
	}
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			flush()
		}
		if line != "" {
			line += " "
		}
		line += word
		if strings.ContainsAny(word[len(word)-1:], ".?!") {
			flush()
		}
	}
	flush()
	return err
}

// guard keeps roff from taking a line for a request.
func guard(line string) string {
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		return `\&` + line
	}
	return line
}
