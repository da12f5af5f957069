package check_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"seatrial/loadgen/history"
	"seatrial/verifier/check"
)

// header opens the History of every test: tasks are called t-1, t-2, ….
var header = history.Header{Prefix: "t"}

// story reads a Ledger from lines that tell it:
//
//	1: accepted 1s, done 2s              task t-1, what its requests got and what became of it
//	2: unknown 1s, accepted 2s, done twice 3s
//	3: accepted 1s, dead                 also "done 3 times 9s", "done sometime"
//	foreign x-9                          an effect under an id that is no task number
//	history cut / held cut               something is missing
//	at least 10 accepted / poison expected
func story(t *testing.T, text string) *check.Ledger {
	t.Helper()
	l := check.NewLedger(header)
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := tell(l, line); err != nil {
			t.Fatalf("story line %q: %v", line, err)
		}
	}
	return l
}

func tell(l *check.Ledger, line string) error {
	if who, what, ok := strings.Cut(line, ":"); ok {
		return tellTask(l, who, what)
	}
	words := strings.Fields(line)
	switch {
	case line == "history cut":
		l.HistoryCut(errors.New("the file ends in the middle of a block"))
	case line == "held cut":
		l.HeldCut(errors.New("the answer ended before its last line"))
	case line == "poison expected":
		l.PoisonExpected = true
	case words[0] == "foreign":
		l.HoldForeign(words[1])
	case strings.HasPrefix(line, "at least"):
		l.MinAccepted, _ = strconv.Atoi(words[2])
	default:
		return errors.New("no such line")
	}
	return nil
}

// tellTask enters what happened to one task.
func tellTask(l *check.Ledger, who, what string) error {
	n, err := strconv.ParseUint(who, 10, 64)
	if err != nil {
		return err
	}
	held, isHeld := check.Held{Task: n}, false
	for event := range strings.SplitSeq(what, ",") {
		words := strings.Fields(event)
		switch words[0] {
		case "accepted", "refused", "unknown":
			err = errors.Join(err, l.Op(&history.Op{Task: n, Outcome: outcomes[words[0]], End: at(words[1])}))
		case "done":
			held.Effects, held.DoneAt, isHeld = times(words), at(words[len(words)-1]), true
		case "dead":
			held.Dead, isHeld = true, true
		default:
			return fmt.Errorf("no such event: %q", event)
		}
	}
	if isHeld {
		err = errors.Join(err, l.Hold(held))
	}
	return err
}

var outcomes = map[string]history.Outcome{
	"accepted": history.Accepted, "refused": history.Refused, "unknown": history.Unknown,
}

// times reads "done 2s", "done twice 2s" and "done 3 times 2s".
func times(words []string) uint32 {
	switch {
	case len(words) == 2:
		return 1
	case words[1] == "twice":
		return 2
	}
	n, err := strconv.ParseUint(words[1], 10, 32)
	if err != nil {
		panic(err)
	}
	return uint32(n)
}

func at(word string) time.Duration {
	if word == "sometime" {
		return check.Untimed
	}
	d, err := time.ParseDuration(word)
	if err != nil {
		panic(err)
	}
	return d
}
