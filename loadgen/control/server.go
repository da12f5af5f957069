// Package control is the load generator as a long-running process: a small HTTP
// API that starts, watches and ends attacks and hands out what they recorded, and
// the client for it.
//
// It knows neither how a load is made nor what is judged from it. Several
// replicas share a load by Spec.Shard; package history merges what they recorded.
package control

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"path/filepath"

	"seatrial/loadgen/attack"
	"seatrial/loadgen/profile"
	"seatrial/loadgen/results"
)

// maxBody is the longest body that POST /attacks reads.
const maxBody = 64 << 10

// Server is the control API over the attacks in one folder.
type Server struct {
	attacks *keeper
	mux     *http.ServeMux
}

// NewServer returns a Server that keeps its attacks under dir, where it finds
// those of earlier processes. metrics counts all attacks; metricsPage answers GET /metrics.
func NewServer(dir string, metrics *attack.Metrics, metricsPage http.Handler, log *slog.Logger) (*Server, error) {
	k, err := openKeeper(dir, metrics, log)
	if err != nil {
		return nil, err
	}
	s := &Server{attacks: k, mux: http.NewServeMux()}
	s.mux.HandleFunc("POST /attacks", s.create)
	s.mux.HandleFunc("GET /attacks", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, k.list()) })
	s.mux.HandleFunc("GET /attacks/{id}", s.show)
	s.mux.HandleFunc("DELETE /attacks/{id}", s.end)
	s.mux.HandleFunc("GET /attacks/{id}/{file}", s.download)
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	s.mux.Handle("GET /metrics", metricsPage)
	return s, nil
}

// Close ends all attacks, waits for their last answers and closes their files.
func (s *Server) Close() { s.attacks.close() }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := s.mux.Handler(r); pattern == "" {
		s.noRoute(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// noRoute asks the mux for 404 or 405 and says it as a problem.
func (s *Server) noRoute(w http.ResponseWriter, r *http.Request) {
	probe := &headerOnly{header: w.Header(), status: http.StatusOK}
	s.mux.ServeHTTP(probe, r)
	refuse(w, probe.status, noSuchRoute, http.StatusText(probe.status), fmt.Sprintf("%s %s: %s", r.Method, r.URL.Path, http.StatusText(probe.status)), nil)
}

// headerOnly keeps the status and Allow of an answer, and drops its body.
type headerOnly struct {
	header http.Header
	status int
}

func (h *headerOnly) Header() http.Header         { return h.header }
func (h *headerOnly) WriteHeader(status int)      { h.status = status }
func (h *headerOnly) Write(b []byte) (int, error) { return len(b), nil }

func (s *Server) create(w http.ResponseWriter, r *http.Request) {
	spec, ok := readSpec(w, r)
	if !ok {
		return
	}
	status, err := s.attacks.start(spec)
	switch {
	case errors.Is(err, errExists):
		refuse(w, http.StatusConflict, attackExists, "The attack exists", fmt.Sprintf("start attack %s: %v", spec.ID, err), nil)
	case err != nil:
		refuse(w, http.StatusUnprocessableEntity, cannotStart, "The attack was not started", fmt.Sprintf("start attack %s: %v", spec.ID, err), nil)
	default:
		w.Header().Set("Location", "/attacks/"+spec.ID)
		answer(w, http.StatusCreated, status)
	}
}

// readSpec answers with the problem and returns false if there is one.
func readSpec(w http.ResponseWriter, r *http.Request) (Spec, bool) {
	const title = "The body is not an attack"
	if kind := r.Header.Get("Content-Type"); kind != "" {
		if media, _, err := mime.ParseMediaType(kind); err != nil || media != "application/json" {
			refuse(w, http.StatusUnsupportedMediaType, invalidSpec, title, fmt.Sprintf("content type %q is not application/json", kind), nil)
			return Spec{}, false
		}
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		status := http.StatusBadRequest
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			status = http.StatusRequestEntityTooLarge
		}
		refuse(w, status, invalidSpec, title, fmt.Sprintf("read the body: %v", err), nil)
		return Spec{}, false
	}
	spec, err := ParseSpec(text)
	if mistakes, ok := errors.AsType[profile.Mistakes](err); ok {
		refuse(w, http.StatusBadRequest, invalidSpec, title, mistakes.Error(), mistakes)
		return Spec{}, false
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, invalidSpec, title, fmt.Sprintf("the body %v", err), nil)
		return Spec{}, false
	}
	return spec, true
}

// entry finds the attack that the path names, or answers 404 and returns nil.
func (s *Server) entry(w http.ResponseWriter, r *http.Request) (*entry, string) {
	id := r.PathValue("id")
	e, err := s.attacks.find(id)
	if err != nil {
		refuse(w, http.StatusNotFound, unknownAttack, "There is no such attack", fmt.Sprintf("attack %q: %v", id, err), nil)
		return nil, id
	}
	return e, id
}

func (s *Server) show(w http.ResponseWriter, r *http.Request) {
	if e, id := s.entry(w, r); e != nil {
		answer(w, http.StatusOK, statusOf(e, id))
	}
}

func (s *Server) end(w http.ResponseWriter, r *http.Request) {
	e, id := s.entry(w, r)
	if e == nil {
		return
	}
	if err := e.stop(r.Context()); err != nil {
		return // the client has gone; the attack ends all the same
	}
	answer(w, http.StatusOK, statusOf(e, id))
}

// download hands out a file of an attack that is over, or what is made of one.
func (s *Server) download(w http.ResponseWriter, r *http.Request) {
	e, id := s.entry(w, r)
	if e == nil {
		return
	}
	dir := filepath.Join(s.attacks.dir, id)
	res := filepath.Join(dir, attack.ResultsFile)
	var fill func(io.Writer) error
	kind := "text/plain; charset=utf-8"
	file := File(r.PathValue("file"))
	switch file {
	case History, Results:
		kind = "application/octet-stream"
	case Report:
		fill = func(w io.Writer) error { return results.Text(w, res) }
	case HDR:
		fill = func(w io.Writer) error { return results.HDR(w, res) }
	case Plot:
		kind = "text/html; charset=utf-8"
		fill = func(w io.Writer) error { return results.Plot(w, res, id) }
	default:
		refuse(w, http.StatusNotFound, noSuchRoute, "There is no such file", fmt.Sprintf("attack %s has no %q: want history, results, report, hdr or plot", id, file), nil)
		return
	}
	if !e.over() {
		refuse(w, http.StatusConflict, stillRunning, "The attack is running", fmt.Sprintf("read %s of attack %s: it is running; end it first", file, id), nil)
		return
	}
	w.Header().Set("Content-Type", kind)
	switch {
	case fill != nil:
		serveMade(w, r, id, file, fill)
	case file == History:
		serveFile(w, r, id, file, filepath.Join(dir, attack.HistoryFile))
	default:
		serveFile(w, r, id, file, res)
	}
}

// serveMade answers with what fill writes; made in memory, an error can still be told.
func serveMade(w http.ResponseWriter, r *http.Request, id string, file File, fill func(io.Writer) error) {
	var b bytes.Buffer
	if err := fill(&b); err != nil {
		unreadable(w, id, file, err)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(b.Len()))
	if r.Method != http.MethodHead {
		_, _ = b.WriteTo(w)
	}
}

func unreadable(w http.ResponseWriter, id string, file File, err error) {
	refuse(w, http.StatusInternalServerError, cannotRead, "The file cannot be read", fmt.Sprintf("read %s of attack %s: %v", file, id, err), nil)
}
