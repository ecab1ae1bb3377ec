package access

import (
	"fmt"
	"math"
	"os/user"
	"strconv"
)

// LookupUsers turns the names or numbers of AllowUsers= into uids. A number need
// not be known. Its error names the user that is not found.
func LookupUsers(names []string) ([]uint32, error) {
	return lookup(names, "user", func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
}

// LookupGroups turns the names or numbers of AllowGroups= into gids, as
// LookupUsers does.
func LookupGroups(names []string) ([]uint32, error) {
	return lookup(names, "group", func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
}

func lookup(names []string, kind string, find func(name string) (id string, err error)) ([]uint32, error) {
	var ids []uint32
	for _, name := range names {
		id, err := parseID(name)
		if err != nil {
			var text string
			if text, err = find(name); err == nil {
				id, err = parseID(text)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("cannot find the %s %.60q: %w", kind, name, err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// parseID reads a uid or gid. The greatest number is none: the kernel says -1
// where there is nobody.
func parseID(text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err == nil && id == math.MaxUint32 {
		err = strconv.ErrRange
	}
	return uint32(id), err
}
