package chart_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/tiproxy/tiproxy/bench/chart"
)

// element is one of the drawing, with its attributes and its text.
type element struct {
	name, text string
	attr       map[string]string
}

// draw answers what a chart consists of.
func draw(t *testing.T, c chart.Chart) (all []element) {
	t.Helper()
	var b strings.Builder
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(strings.NewReader(b.String())); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local, attr: map[string]string{}}
			for _, a := range token.Attr {
				e.attr[a.Name.Local] = a.Value
			}
			all = append(all, e)
		case xml.CharData:
			if len(all) > 0 {
				all[len(all)-1].text += strings.TrimSpace(string(token))
			}
		}
	}
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestBarsAreAsLongAsTheirValues(t *testing.T) {
	c := chart.Chart{Title: "T", Panels: []chart.Panel{{Title: "P", Bars: []chart.Bar{
		{Label: "one", Value: 100, Text: "100", Style: chart.Ours},
		{Label: "half", Value: 50, Low: 40, High: 60, Text: "50", Style: chart.Other},
		{Label: "none", Value: 0, Text: "0", Style: chart.Invalid},
	}}}}
	widths := map[string]int{}
	for _, e := range draw(t, c) {
		if e.name == "rect" {
			widths[e.attr["class"]] = number(t, e.attr["width"])
		}
	}
	if widths["ours"] < 100 || widths["ours"] != 2*widths["other"] || widths["invalid"] != 1 {
		t.Errorf("the widths are %v", widths)
	}
}

func TestDecadesAreEquallyFar(t *testing.T) {
	c := chart.Chart{Panels: []chart.Panel{{Log: true, Bars: []chart.Bar{{Points: []float64{1, 10, 100, 1000}, Style: chart.Ours}}}}}
	var at []int
	for _, e := range draw(t, c) {
		if e.name == "circle" {
			at = append(at, number(t, e.attr["cx"]))
		}
	}
	if len(at) != 4 {
		t.Fatalf("the points are at %v", at)
	}
	for i := range 2 {
		if first, second := at[i+1]-at[i], at[i+2]-at[i+1]; first < 10 || first-second > 1 || second-first > 1 {
			t.Errorf("the points are at %v", at)
		}
	}
}

func TestTextIsKeptAndInside(t *testing.T) {
	texts := []string{`<b>&"'`, "a title", "a label", "12 · 34", "a note"}
	c := chart.Chart{Title: texts[0], Note: texts[4], Panels: []chart.Panel{
		{Title: texts[1], Bars: []chart.Bar{{Label: texts[2], Value: 3, Text: texts[3]}}}, {}, {},
	}}
	found := map[string]bool{}
	var width, height int
	for _, e := range draw(t, c) {
		found[e.text] = true
		if e.name == "rect" && e.attr["class"] == "paper" {
			width, height = number(t, e.attr["width"]), number(t, e.attr["height"])
		}
		if e.name == "text" && (number(t, e.attr["x"]) >= width || number(t, e.attr["y"]) >= height) {
			t.Errorf("%q stands outside of %d × %d: %v", e.text, width, height, e.attr)
		}
	}
	for _, text := range texts {
		if !found[text] {
			t.Errorf("%q is missing in %v", text, found)
		}
	}
}
