package control

import (
	"encoding/json"
	"net/http"

	"seatrial/loadgen/profile"
)

// Problem is how the API reports an error: RFC 9457's application/problem+json.
type Problem struct {
	Type   string           `json:"type"`
	Title  string           `json:"title"`
	Status int              `json:"status"`
	Detail string           `json:"detail"`
	Errors profile.Mistakes `json:"errors,omitempty"` // every mistake of a body
}

// Error returns the detail, which names the thing and what was being done to it.
func (p *Problem) Error() string { return p.Detail }

const problemType = "application/problem+json"

// The problems' types.
const (
	invalidSpec   = "urn:seatrial:problem:invalid-attack"
	unknownAttack = "urn:seatrial:problem:unknown-attack"
	attackExists  = "urn:seatrial:problem:attack-exists"
	stillRunning  = "urn:seatrial:problem:attack-running"
	cannotStart   = "urn:seatrial:problem:attack-not-started"
	cannotRead    = "urn:seatrial:problem:file-unreadable"
	noSuchRoute   = "urn:seatrial:problem:no-such-route"
)

func refuse(w http.ResponseWriter, status int, kind, title, detail string, mistakes profile.Mistakes) {
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(Problem{Type: kind, Title: title, Status: status, Detail: detail, Errors: mistakes})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone: there is nobody to tell
}
