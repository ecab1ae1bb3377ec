package control

import (
	"encoding/json"
	"errors"
	"net/http"
)

// maxHeader bounds a request's line and headers, in bytes; net/http adds 4096.
const maxHeader = 4 << 10

// Server answers on the control socket.
type Server struct {
	socket *socket
	http   *http.Server
}

// Listen binds the control socket at path. Its directory is made, mode 0700, if
// path is the default one, else it has to be there. What a tiproxy that died left
// behind is replaced; a process that answers there is an error that names it.
//
// For every request status is called, from several goroutines at once, for what
// to answer as JSON.
func Listen(path string, status func() any) (*Server, error) {
	socket, err := listen(path)
	if err != nil {
		return nil, err
	}
	s := &Server{
		socket: socket,
		http: &http.Server{
			Handler:                      handler(status),
			ReadTimeout:                  patience,
			WriteTimeout:                 patience, // from the end of the headers
			MaxHeaderBytes:               maxHeader,
			DisableGeneralOptionsHandler: true,
		},
	}
	s.http.SetKeepAlivesEnabled(false)
	return s, nil
}

// Serve answers until Close, and then returns nil.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.socket); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close ends Serve, cuts the requests under way, and removes the socket's file,
// unless another process has put its own in that place.
func (s *Server) Close() error {
	err := s.socket.remove()
	s.http.Close()
	s.socket.Close() // once more, for the case that Serve never took it
	return err
}

// handler answers requests by exact path: http.ServeMux would redirect the paths
// that it finds unclean.
func handler(status func() any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != statusPath:
			refuse(w, http.StatusNotFound, "there is nothing of that name here; ask for "+statusPath)
		case r.Method != http.MethodGet:
			w.Header().Set("Allow", http.MethodGet)
			refuse(w, http.StatusMethodNotAllowed, "the status can only be read; ask with GET")
		default:
			answer(w, http.StatusOK, status())
		}
	})
}

// refusal is the body of every answer but 200.
type refusal struct {
	Error string `json:"error"`
}

func refuse(w http.ResponseWriter, code int, sentence string) {
	answer(w, code, refusal{sentence})
}

func answer(w http.ResponseWriter, code int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "cannot write the status as JSON: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(text, '\n'))
}
