package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"seatrial/services/task"
)

// maxBody leaves room around the largest payload for the id and spaces.
const maxBody = task.MaxPayload + 1024

// bodies are reused: what is read is copied by task.Decode.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func (a *API) postTask(w http.ResponseWriter, r *http.Request) {
	t, p := readTask(w, r)
	if p != nil {
		p.write(w)
		return
	}
	if t.ID == "" {
		t.ID = task.NewID()
	}
	if !a.gate.Open() {
		// Nothing was stored for a while, so nothing is sent: that makes it a
		// definite no, and keeps the load off servers that are recovering.
		refused(t.ID, fmt.Sprintf("publish task %s: %v; it was not enqueued and will not be done", t.ID, errShut)).write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.config.Deadline)
	defer cancel()
	if err := a.ledger.Accept(ctx, t); err != nil {
		a.log.Debug("task not accepted", "error", err)
		a.notAccepted(t.ID, err).write(w)
		return
	}
	a.gate.Passed()
	writeAccepted(w, t.ID)
}

// notAccepted believes only a proven no.
func (a *API) notAccepted(id string, err error) problem {
	if errors.Is(err, task.ErrRefused) {
		return refused(id, fmt.Sprintf("publish task %s: no server would take it; it was not enqueued and will not be done", id))
	}
	return unknown(id, fmt.Sprintf("publish task %s: no acknowledgement within %s; repeat the request with the same id", id, a.config.Deadline))
}

func writeAccepted(w http.ResponseWriter, id string) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h[outcomeHeader] = acceptedValue
	w.WriteHeader(http.StatusAccepted)
	body := make([]byte, 0, 64+len(id))
	body = append(body, `{"id":"`...)
	body = append(body, id...) // an id needs no escapes
	body = append(body, "\",\"status\":\"accepted\"}\n"...)
	_, _ = w.Write(body)
}

var (
	jsonType      = []string{"application/json"}
	acceptedValue = []string{outcomeAccepted}
)

func readTask(w http.ResponseWriter, r *http.Request) (task.Task, *problem) {
	if !isJSON(r.Header.Get("Content-Type")) {
		p := invalid(http.StatusUnsupportedMediaType, "", fmt.Sprintf("Content-Type: want application/json, got %q", r.Header.Get("Content-Type")))
		return task.Task{}, &p
	}
	buf := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(buf)
	buf.Reset()
	if _, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		p := unread(err)
		return task.Task{}, &p
	}
	t, err := task.Decode(buf.Bytes())
	if err != nil {
		p := invalid(http.StatusBadRequest, "", err.Error())
		var m *task.Mistake
		if errors.As(err, &m) {
			p.Field = strings.Trim(m.Field, `"`)
			if m.TooLarge {
				p = invalid(http.StatusRequestEntityTooLarge, m.Field, err.Error())
			}
		}
		return task.Task{}, &p
	}
	return t, nil
}

func unread(err error) problem {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return invalid(http.StatusRequestEntityTooLarge, "payload", fmt.Sprintf("payload: the body is over %d bytes, want a payload of at most %d", large.Limit, task.MaxPayload))
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid(http.StatusBadRequest, "", "the body ends before its Content-Length")
	}
	return invalid(http.StatusBadRequest, "", "the body could not be read")
}

func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && kind == "application/json"
}
