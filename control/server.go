package control

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
)

// maxHeader bounds a request's line and headers, in bytes; net/http adds 4096.
const maxHeader = 4 << 10

// Server answers on the control socket, or to who fetches the metrics.
type Server struct {
	listener net.Listener
	socket   *Socket // nil: it answers /metrics alone, elsewhere
	http     *http.Server
}

// NewServer makes the server of a service, and takes the socket over.
func NewServer(socket *Socket, service Service) *Server {
	s := newServer(socket.listener, service, routes)
	s.socket = socket
	return s
}

// NewMetricsServer makes a server that answers GET /metrics alone, to whoever
// connects to the listening stream socket fd, which is closed.
func NewMetricsServer(fd int, service Service) (*Server, error) {
	f := os.NewFile(uintptr(fd), "metrics")
	defer f.Close()
	l, err := net.FileListener(f) // of a copy
	if err != nil {
		return nil, fmt.Errorf("cannot serve the metrics: %w", cause(err))
	}
	return newServer(l, service, map[string]route{metricsPath: routes[metricsPath]}), nil
}

func newServer(l net.Listener, service Service, routes map[string]route) *Server {
	s := &Server{
		listener: l,
		http: &http.Server{
			Handler:                      handler(service, routes),
			ReadTimeout:                  patience,
			WriteTimeout:                 patience, // from the end of the headers
			MaxHeaderBytes:               maxHeader,
			DisableGeneralOptionsHandler: true,
		},
	}
	s.http.SetKeepAlivesEnabled(false)
	return s
}

// Serve answers until Close, and then returns nil.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close ends Serve, cuts the requests under way, and removes the socket's file,
// unless systemd made it or another process has put its own in that place.
func (s *Server) Close() error {
	var err error
	if s.socket != nil {
		err = s.socket.remove()
	}
	s.http.Close()
	s.listener.Close() // once more, for the case that Serve never took it
	return err
}
