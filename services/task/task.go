// Package task is what a user submits and what becomes of it: Task, its id,
// its State and the rules that a submission must keep.
//
// It is a leaf: it knows no HTTP, no queue and no store.
package task

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// MaxPayload is the largest payload, in bytes of JSON as it was sent.
const MaxPayload = 64 << 10

// MaxID is the length of the longest id.
const MaxID = 128

// State is what a user may be told about a Task.
type State string

// The states. A Task goes from Accepted to exactly one of the others.
const (
	Accepted State = "accepted" // durable, not yet done
	Done     State = "done"     // done, its effect is recorded
	Dead     State = "dead"     // given up after its last delivery, without effect
)

// Task is one submission.
type Task struct {
	ID      string          // see ValidID
	Payload json.RawMessage // valid JSON of at most MaxPayload bytes
}

// The two ways in which a Task can fail to be accepted.
var (
	// ErrRefused: the Task was not stored and never will be.
	ErrRefused = errors.New("it was not enqueued and will not be done")
	// ErrUnknown: the Task may or may not have been stored.
	ErrUnknown = errors.New("it may or may not have been enqueued")
)

// Report is everything that is known about one Task. Times are zero and
// strings empty where they are not known yet.
type Report struct {
	ID         string
	State      State
	Result     string // of a Done task its result, of a Dead one the reason
	Worker     string // the pod that recorded it
	AcceptedAt time.Time
	DoneAt     time.Time
	Deliveries int // how often it had been delivered when it was recorded
	Effects    int // how often its effect was applied: 1 when Done, 0 when Dead
}

// NewID returns an id that nobody has chosen before.
func NewID() string { return rand.Text() }

// idRule is quoted to whoever sends a bad id.
var idRule = fmt.Sprintf("want 1 to %d characters of A-Z, a-z, 0-9, _ and -", MaxID)

// ValidID reports whether id may name a Task. Such an id is also a safe token
// of a queue's subject and a safe part of a store's key.
func ValidID(id string) bool {
	return id != "" && len(id) <= MaxID && validRunes(id)
}

// ValidPrefix reports whether p may begin ids; "" begins all of them.
func ValidPrefix(p string) bool { return len(p) <= MaxID && validRunes(p) }

func validRunes(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// Poison reports whether a payload asks to fail: an object whose member
// "poison" is true. It exists so that dead letters can be tried on purpose.
func Poison(payload json.RawMessage) bool {
	var p struct {
		Poison bool `json:"poison"`
	}
	return json.Unmarshal(payload, &p) == nil && p.Poison
}
