// Package verdict holds the three answers that any judge in seatrial may give
// and the rule that joins many of them into one.
//
// It is a leaf: it knows nothing of trials, load, Prometheus or files.
package verdict

import (
	"encoding/json"
	"fmt"
)

// Status is an answer. The zero value is Inconclusive, so that a judge that
// forgot to answer has not passed anything.
type Status int

// The answers, from the one that needs evidence to the one that stops a release.
// Untested is never Pass: whoever saw nothing answers Inconclusive.
const (
	Inconclusive Status = iota
	Pass
	Fail
)

var words = map[Status]string{Inconclusive: "inconclusive", Pass: "pass", Fail: "fail"}

// String returns "pass", "fail" or "inconclusive".
func (s Status) String() string { return words[s] }

// MarshalJSON writes the word.
func (s Status) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// UnmarshalJSON reads the word back; an unknown word is an error.
func (s *Status) UnmarshalJSON(b []byte) error {
	var word string
	if err := json.Unmarshal(b, &word); err != nil {
		return err
	}
	for k, w := range words {
		if w == word {
			*s = k
			return nil
		}
	}
	return fmt.Errorf("unknown status %q: want pass, fail or inconclusive", word)
}

// Verdict is an answer with the reason for it. Reason may be empty only for Pass.
type Verdict struct {
	Status Status `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// Passed is a Verdict that needs no excuse.
func Passed(format string, args ...any) Verdict { return Verdict{Pass, fmt.Sprintf(format, args...)} }

// Failed quotes what was broken.
func Failed(format string, args ...any) Verdict { return Verdict{Fail, fmt.Sprintf(format, args...)} }

// Unsure says what was missing for an answer.
func Unsure(format string, args ...any) Verdict {
	return Verdict{Inconclusive, fmt.Sprintf(format, args...)}
}

// Worst joins verdicts: one Fail fails the whole, else one Inconclusive leaves
// it open, else it passes. The reason is that of the first verdict of the
// deciding status. No verdicts at all are Inconclusive.
func Worst(all ...Verdict) Verdict {
	if len(all) == 0 {
		return Unsure("nothing was judged")
	}
	worst := all[0]
	for _, v := range all[1:] {
		if rank(v.Status) > rank(worst.Status) {
			worst = v
		}
	}
	return worst
}

func rank(s Status) int {
	switch s {
	case Fail:
		return 2
	case Pass:
		return 0
	default:
		return 1
	}
}
