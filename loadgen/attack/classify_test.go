package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	"seatrial/loadgen/history"
)

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		code   uint16
		header string // Task-Outcome
		want   history.Outcome
	}{
		{200, "", history.Accepted},
		{202, "", history.Accepted},
		{202, "accepted", history.Accepted},
		{202, "unknown", history.Accepted},
		{204, "", history.Accepted},
		{302, "", history.Unknown},
		{302, "refused", history.Refused},
		{400, "", history.Refused},
		{400, "refused", history.Refused},
		{404, "accepted", history.Refused}, // accepted is believed only with 2xx
		{408, "", history.Unknown},
		{408, "refused", history.Refused},
		{409, "unknown", history.Unknown},
		{425, "", history.Unknown},
		{429, "", history.Refused},
		{500, "", history.Unknown},
		{502, "", history.Unknown},
		{503, "", history.Unknown},
		{503, "refused", history.Refused},
		{503, "unknown", history.Unknown},
		{503, "accepted", history.Unknown},
		{503, "REFUSED", history.Unknown}, // only the contract's own words
		{504, "nonsense", history.Unknown},
	} {
		header := http.Header{}
		if tt.header != "" {
			header.Set("Task-Outcome", tt.header)
		}
		if got := Classify(tt.code, header); got != tt.want {
			t.Errorf("%d with %q: %v, want %v", tt.code, tt.header, got, tt.want)
		}
	}
}

// The golden answers are the contract's: their word must be the Outcome.
func TestClassifyGoldenAnswers(t *testing.T) {
	for file, code := range map[string]uint16{
		"task_accepted.json": 202, "problem_invalid.json": 400, "problem_refused.json": 503, "problem_unknown.json": 503,
	} {
		text, err := os.ReadFile("../testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			ID, Outcome, Status string
		}
		// A problem's status is a number, a task's a word.
		text = bytes.ReplaceAll(text, []byte(`"status":4`), []byte(`"code":4`))
		text = bytes.ReplaceAll(text, []byte(`"status":5`), []byte(`"code":5`))
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		word := answer.Outcome
		if word == "" {
			word = answer.Status
		}
		if got := Classify(code, http.Header{OutcomeHeader: {word}}).String(); got != word {
			t.Errorf("%s: %v, want %v", file, got, word)
		}
	}
}

func TestClassifyError(t *testing.T) {
	dial := func(err error) error {
		return &url.Error{Op: "Post", URL: "http://x", Err: &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}}
	}
	read := func(err error) error {
		return &net.OpError{Op: "read", Net: "tcp", Addr: &net.TCPAddr{Port: 4711}, Err: os.NewSyscallError("read", err)}
	}
	_, dialTimeout := (&net.Dialer{Deadline: time.Now().Add(-time.Second)}).Dial("tcp", "127.0.0.1:1")
	for _, tt := range []struct {
		err     error
		outcome history.Outcome
		cause   string
	}{
		{dial(syscall.ECONNREFUSED), history.Refused, "connection refused"},
		{dial(syscall.EHOSTUNREACH), history.Refused, "no route to host"},
		{dial(syscall.ENETUNREACH), history.Refused, "network unreachable"},
		{dial(syscall.EMFILE), history.Refused, "too many open files"},
		{dial(syscall.EADDRNOTAVAIL), history.Refused, "no free port"},
		{dialTimeout, history.Refused, "timeout"},
		{read(syscall.ECONNRESET), history.Unknown, "connection reset"},
		{read(syscall.ECONNREFUSED), history.Unknown, "connection refused"}, // not while dialling
		{fmt.Errorf("write: %w", syscall.EPIPE), history.Unknown, "broken pipe"},
		{io.EOF, history.Unknown, "connection closed"},
		{io.ErrUnexpectedEOF, history.Unknown, "connection closed"},
		{context.DeadlineExceeded, history.Unknown, "timeout"},
		{context.Canceled, history.Unknown, "cancelled"},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "x"}}, history.Refused, "name not resolved: no such host"},
		{&url.Error{Op: "Post", URL: "http://10.0.0.1", Err: errors.New("strange")}, history.Unknown, "strange"},
	} {
		outcome, cause := ClassifyError(tt.err)
		if outcome != tt.outcome || cause != tt.cause {
			t.Errorf("%v: %v %q, want %v %q", tt.err, outcome, cause, tt.outcome, tt.cause)
		}
	}
}
