package api

import (
	"encoding/json"
	"net/http"
)

// Values of the header Task-Outcome, which every answer to POST /task carries.
const (
	outcomeHeader   = "Task-Outcome"
	outcomeAccepted = "accepted"
	outcomeRefused  = "refused" // a definite no: not enqueued, never done
	outcomeUnknown  = "unknown" // it may or may not be done
	outcomeNone     = "none"    // of requests that submit nothing; only in metrics
)

// problem is an answer by RFC 9457.
type problem struct {
	Type    string `json:"type"`
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Detail  string `json:"detail"`
	Field   string `json:"field,omitempty"` // of the request, that is wrong
	ID      string `json:"id,omitempty"`
	Outcome string `json:"outcome,omitempty"`

	allow string // header of a 405
}

func invalid(status int, field, detail string) problem {
	p := problem{Type: "urn:seatrial:problem:invalid-request", Title: "The request is not a task", Status: status, Detail: detail, Field: field, Outcome: outcomeRefused}
	switch status {
	case http.StatusRequestEntityTooLarge:
		p.Type, p.Title = "urn:seatrial:problem:too-large", "The task is too large"
	case http.StatusUnsupportedMediaType:
		p.Type, p.Title = "urn:seatrial:problem:content-type", "The request is not JSON"
	}
	return p
}

func refused(id, detail string) problem {
	return problem{Type: "urn:seatrial:problem:queue-unavailable", Title: "The task was not enqueued", Status: http.StatusServiceUnavailable, Detail: detail, ID: id, Outcome: outcomeRefused}
}

func unknown(id, detail string) problem {
	return problem{Type: "urn:seatrial:problem:outcome-unknown", Title: "The task may or may not have been enqueued", Status: http.StatusServiceUnavailable, Detail: detail, ID: id, Outcome: outcomeUnknown}
}

func unreadable(detail string) problem {
	return problem{Type: "urn:seatrial:problem:store-unavailable", Title: "The state of tasks cannot be read now", Status: http.StatusServiceUnavailable, Detail: detail}
}

func notFound(id string) problem {
	return problem{Type: "urn:seatrial:problem:no-such-task", Title: "No such task", Status: http.StatusNotFound, Detail: "task " + id + " is neither waiting nor recorded", ID: id}
}

func wrongMethod(r *http.Request, allow string) problem {
	return problem{Type: "urn:seatrial:problem:method", Title: "Not with this method", Status: http.StatusMethodNotAllowed, Detail: r.Method + ": want " + allow, Outcome: outcomeRefused, allow: allow}
}

func noRoute() problem {
	return problem{Type: "urn:seatrial:problem:no-route", Title: "Nothing is here", Status: http.StatusNotFound, Detail: "want /task, /task/{id}, /tasks, /stats, /healthz, /readyz or /metrics", Outcome: outcomeRefused}
}

func (p problem) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.Outcome != "" {
		h.Set(outcomeHeader, p.Outcome)
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	if p.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}
