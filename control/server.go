package control

import (
	"errors"
	"net/http"
)

// maxHeader bounds a request's line and headers, in bytes; net/http adds 4096.
const maxHeader = 4 << 10

// Server answers on the control socket.
type Server struct {
	socket *Socket
	http   *http.Server
}

// NewServer makes the server of a service, and takes the socket over.
func NewServer(socket *Socket, service Service) *Server {
	s := &Server{
		socket: socket,
		http: &http.Server{
			Handler:                      handler(service),
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
	if err := s.http.Serve(s.socket.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close ends Serve, cuts the requests under way, and removes the socket's file,
// unless systemd made it or another process has put its own in that place.
func (s *Server) Close() error {
	err := s.socket.remove()
	s.http.Close()
	s.socket.listener.Close() // once more, for the case that Serve never took it
	return err
}
