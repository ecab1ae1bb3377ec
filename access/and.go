package access

import "slices"

// And is both lists in one.
func (s Sources) And(more Sources) Sources {
	return slices.Concat(s, more).arrange()
}
