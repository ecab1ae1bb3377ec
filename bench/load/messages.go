package load

import (
	"bytes"
	"fmt"
	"time"

	"github.com/tiproxy/tiproxy/bench/raw"
	"github.com/tiproxy/tiproxy/bench/wire"
	"golang.org/x/sys/unix"
)

// client is one connection of a crowd, with at most one message under way.
type client struct {
	fd       int
	sequence uint64 // of the message; told apart by it, and by the client's place
	sent     time.Time
	message  [wire.MessageSize]byte
	got      int  // bytes of the reply so far
	waits    bool // for the connection, before it can send
}

// crowd is clients that one thread serves.
type crowd struct {
	poll    *raw.Poll
	target  raw.Target
	clients []client
	open    int // clients with a connection
	begin   time.Time
	warm    time.Time // from then on replies are counted
	end     time.Time // from then on nobody sends
	units   uint64    // replies in all
	counted histogram // those from warm to end
	err     error     // the first one
}

// gather makes a crowd of clients, none of which is connected yet. The first
// tenth of the time is for warming up.
func gather(s Spec) (*crowd, error) {
	target, err := raw.NewTarget(s.Address)
	if err != nil {
		return nil, err
	}
	poll, err := raw.NewPoll()
	if err != nil {
		return nil, err
	}
	return &crowd{poll: poll, target: target, clients: make([]client, s.Connections)}, nil
}

// run serves the crowd until nobody is connected; ready is called for each
// client of which epoll says that something can be done.
func (c *crowd) run(s Spec, start func(place uint32), ready func(place uint32)) (Result, error) {
	defer c.disperse()
	c.begin = time.Now()
	c.warm, c.end = c.begin.Add(s.Time/10), c.begin.Add(s.Time)
	for i := range c.clients {
		start(uint32(i))
	}
	for c.open > 0 && c.err == nil {
		n, err := c.poll.Wait(int(patience.Milliseconds()), func(place uint32) {
			if c.err == nil {
				ready(place)
			}
		})
		if err != nil {
			return Result{}, err
		}
		if n == 0 {
			c.fail(fmt.Errorf("%w: %d of %d clients have waited for %v", errLost, c.open, len(c.clients), patience))
		}
	}
	counting := min(time.Since(c.begin), c.end.Sub(c.begin)) - s.Time/10
	return Result{Units: c.units, Rate: float64(c.counted.total) / counting.Seconds(), Latency: c.counted.latency()}, c.err
}

func (c *crowd) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// disperse closes what is still open.
func (c *crowd) disperse() {
	for i := range c.clients {
		if c.clients[i].fd > 0 {
			c.leave(&c.clients[i])
		}
	}
	c.poll.Close()
}

func (c *crowd) leave(cl *client) {
	raw.Close(cl.fd)
	cl.fd = 0
	c.open--
}

// connect begins a connection of a client, and its first message.
func (c *crowd) connect(place uint32) {
	cl := &c.clients[place]
	cl.sent = time.Now()
	var err error
	if cl.fd, err = raw.Connect(c.target); err != nil {
		cl.fd = 0
		c.fail(err)
		return
	}
	c.open++
	cl.waits = !c.send(place)
	if cl.waits {
		err = c.poll.AddWritable(cl.fd, place)
	} else {
		err = c.poll.Add(cl.fd, place)
	}
	if err != nil {
		c.fail(err)
	}
}

// send writes the client's next message; false: it is not connected yet.
func (c *crowd) send(place uint32) bool {
	cl := &c.clients[place]
	cl.got = 0
	wire.FillMessage(&cl.message, uint64(place), cl.sequence)
	n, err := raw.Write(cl.fd, cl.message[:])
	switch {
	case err == unix.EAGAIN:
		return false
	case err != nil || n < len(cl.message):
		c.fail(fmt.Errorf("%w: cannot send: %d bytes written, %v", errLost, n, err))
	}
	cl.sequence++
	return true
}

// connected is send for a client that had to wait for its connection.
func (c *crowd) connected(place uint32) {
	cl := &c.clients[place]
	if !c.send(place) {
		return
	}
	cl.waits = false
	if err := c.poll.WatchReadable(cl.fd, place); err != nil {
		c.fail(err)
	}
}

// receive reads what is there of the reply; true: it is whole and right.
func (c *crowd) receive(place uint32, buf []byte) bool {
	cl := &c.clients[place]
	n, err := raw.Read(cl.fd, buf)
	switch {
	case err == unix.EAGAIN:
		return false
	case err != nil || n == 0:
		c.fail(fmt.Errorf("%w: %d bytes of it came, then %v", errLost, cl.got, orEnd(err)))
		return false
	case cl.got+n > len(cl.message) || !bytes.Equal(buf[:n], cl.message[cl.got:cl.got+n]):
		c.fail(fmt.Errorf("%w in reply %d of client %d", wire.ErrWrong, cl.sequence, place))
		return false
	}
	if cl.got += n; cl.got < len(cl.message) {
		return false
	}
	c.units++
	return true
}

// orEnd names what the end of a connection looks like.
func orEnd(err error) error {
	if err == nil {
		return fmt.Errorf("the end of the connection")
	}
	return err
}

// count takes the time of a reply, and tells whether to go on.
func (c *crowd) count(cl *client) (now time.Time, more bool) {
	now = time.Now()
	if now.After(c.warm) && now.Before(c.end) {
		c.counted.add(now.Sub(cl.sent))
	}
	return now, now.Before(c.end)
}

// requests keeps the connections and sends one message after the other.
func requests(s Spec, _ Stage) (Result, error) {
	c, err := gather(s)
	if err != nil {
		return Result{}, err
	}
	buf := make([]byte, wire.MessageSize+1)
	return c.run(s, c.connect, func(place uint32) {
		cl := &c.clients[place]
		if cl.waits {
			c.connected(place)
			return
		}
		if !c.receive(place, buf) {
			return
		}
		now, more := c.count(cl)
		if !more {
			c.leave(cl)
			return
		}
		cl.sent = now
		c.send(place)
	})
}

// mostConnects ends a run before local ports are scarce: a closed connection keeps
// its port for a minute, and between two addresses there are 28,232
// (net.ipv4.ip_local_port_range). connect(2) takes those of one parity first, and
// once these are gone it looks through all of them each time: what is measured
// then, of load and proxy alike, is that.
const mostConnects = 12000

// connects opens a connection for each message.
func connects(s Spec, _ Stage) (Result, error) {
	c, err := gather(s)
	if err != nil {
		return Result{}, err
	}
	buf := make([]byte, wire.MessageSize+1)
	return c.run(s, c.connect, func(place uint32) {
		cl := &c.clients[place]
		if cl.waits {
			c.connected(place)
			return
		}
		if !c.receive(place, buf) {
			return
		}
		now, more := c.count(cl)
		c.leave(cl)
		if c.units+uint64(c.open) >= mostConnects {
			c.end = now
		} else if more {
			c.connect(place)
		}
	})
}
