// Package history is the record of a trial as the client saw it: one Op a
// request, on disk, written while the load runs and read as a stream.
//
// It is a leaf and the hub of seatrial: load writes it, judges read it, and
// neither knows the other. It knows no HTTP and no clock.
package history

import (
	"strconv"
	"time"
)

// Outcome is what a client may conclude from the answer to one request.
type Outcome uint8

// The outcomes. There is no zero outcome: an Op without one is malformed.
const (
	// Accepted (2xx): the task is durable and must be done exactly once.
	Accepted Outcome = 1
	// Refused (a definite no): the task must never be done.
	Refused Outcome = 2
	// Unknown (timeout, reset, 5xx after the request was sent): the task may
	// be done at most once.
	Unknown Outcome = 3
)

// String returns "accepted", "refused" or "unknown".
func (o Outcome) String() string {
	switch o {
	case Accepted:
		return "accepted"
	case Refused:
		return "refused"
	case Unknown:
		return "unknown"
	}
	return "outcome(" + strconv.Itoa(int(o)) + ")"
}

// Op is one request. Times are offsets from Header.Start on the load
// generator's monotonic clock. Several Ops may name the same Task: a client
// that repeats an id on purpose.
type Op struct {
	Task    uint64        // the task's number; its id on the wire is Header.ID(Task)
	Planned time.Duration // when the open-loop schedule wanted it sent
	Sent    time.Duration // when it was sent
	End     time.Duration // when its answer, or the client's patience, ended it
	Outcome Outcome
	Code    uint16 // HTTP status, 0 when there was no answer
	Cause   string // short error text when there was no answer, else ""
}

// Header opens a History.
type Header struct {
	Start  time.Time `json:"start"`  // wall clock of offset 0
	Prefix string    `json:"prefix"` // task ids are Prefix + "-" + decimal number
	Target string    `json:"target"` // URL that was loaded
	Seed   int64     `json:"seed"`
}

// ID returns the id that task n has on the wire.
func (h Header) ID(n uint64) string { return h.Prefix + "-" + strconv.FormatUint(n, 10) }
