package proxy

// sequel is what was decided of a client under Proxy.mu, to be done without it.
type sequel struct {
	c   *client
	why error // it is to be seen off for; nil: it is let in
}

// sequels is any number of them, in order. Hardly ever are there two, so the first
// needs no memory of its own.
type sequels struct {
	first sequel // its client is nil: there is none
	more  []sequel
}

// then adds what is to be done.
func (p *Proxy) then(s sequel) {
	if p.after.first.c == nil {
		p.after.first = s
	} else {
		p.after.more = append(p.after.more, s)
	}
}

// decided gives p.mu back, and answers what was decided under it.
func (p *Proxy) decided() sequels {
	after := p.after
	p.after = sequels{}
	p.mu.Unlock()
	return after
}

// carryOut does what was decided.
func (p *Proxy) carryOut(after sequels) {
	if after.first.c == nil {
		return
	}
	p.proceed(after.first)
	for _, s := range after.more {
		p.proceed(s)
	}
}

func (p *Proxy) proceed(s sequel) {
	if s.why == nil {
		p.pass(s.c)
	} else {
		p.end(s.c, s.why)
	}
}

// unlock gives p.mu back, and then does what was decided under it.
func (p *Proxy) unlock() { p.carryOut(p.decided()) }
