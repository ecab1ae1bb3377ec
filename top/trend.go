package top

import (
	"math"
	"slices"
	"strings"
	"time"
)

const (
	trendMinutes = 10 // how far a trend reaches back
	trendMinute  = 6  // cells of a minute: each is a letter when it is drawn
	trendCells   = trendMinutes * trendMinute
	trendCell    = time.Minute / trendMinute
)

// trend is how a level went lately: the highest of each cell. The zero trend
// knows nothing.
type trend struct {
	levels [trendCells]uint64 // the latest at the end; 0: not known
	last   time.Time          // when the latest cell began; zero: there is none
}

// add notes a level. A clock that was set back goes on in the latest cell.
func (t *trend) add(at time.Time, level uint64) {
	began := at.Truncate(trendCell)
	passed := trendCells
	if !t.last.IsZero() {
		passed = int(min(began.Sub(t.last)/trendCell, trendCells))
	}
	if passed > 0 {
		copy(t.levels[:], t.levels[passed:])
		clear(t.levels[trendCells-passed:])
		t.last = began
	}
	latest := &t.levels[trendCells-1]
	*latest = max(*latest, level)
}

// most is the highest level of the last cells; 0: none is known.
func (t *trend) most(cells int) uint64 {
	return slices.Max(t.levels[trendCells-cells:])
}

// draw draws the last cells from zero to the highest of them, a letter for each.
func (t *trend) draw(cells int) string {
	most := float64(t.most(cells))
	var line strings.Builder
	for _, level := range t.levels[trendCells-cells:] {
		if level == 0 {
			line.WriteByte(' ')
			continue
		}
		step := math.Round(float64(level) / most * float64(len(bars)-1))
		line.WriteRune(bars[int(step)])
	}
	return line.String()
}

var bars = []rune("▁▂▃▄▅▆▇█")
