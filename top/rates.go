package top

// flow is how fast bytes go to and fro, in bytes per second.
type flow struct{ in, out float64 }

// rates are what happened between two looks, per second.
type rates struct {
	known    bool            // false: there were no two looks at the same tiproxy
	served   float64         // clients
	all      flow            // of all who are still inside
	sessions map[uint64]flow // by number
}

// ratesOf compares two looks. Who was not inside at the first one has had all his
// bytes since.
func ratesOf(before, now look) rates {
	seconds := now.at.Sub(before.at).Seconds()
	if before.at.IsZero() || before.status.PID != now.status.PID || seconds <= 0 {
		return rates{}
	}
	per := func(before, now uint64) float64 { return (float64(now) - float64(before)) / seconds }
	r := rates{known: true, sessions: make(map[uint64]flow, len(now.sessions))}
	r.served = per(before.status.Gate.Served, now.status.Gate.Served)
	was := make(map[uint64]session, len(before.sessions))
	for _, s := range before.sessions {
		was[s.Session] = s
	}
	for _, s := range now.sessions {
		f := flow{per(was[s.Session].In, s.In), per(was[s.Session].Out, s.Out)}
		r.sessions[s.Session] = f
		r.all.in += f.in
		r.all.out += f.out
	}
	return r
}
