package attack

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"seatrial/loadgen/history"
)

// OutcomeHeader is the answer's own word about what became of the task. A server
// that does not set it is judged by its status alone.
const OutcomeHeader = "Task-Outcome"

// Classify says what an answer means. 2xx is Accepted. For any other status the
// answer's OutcomeHeader decides if it says refused or unknown; without it 4xx is
// Refused, but for 408 and 425, after which the request may still have been
// carried out, and everything else is Unknown.
func Classify(code uint16, header http.Header) history.Outcome {
	if code >= 200 && code < 300 {
		return history.Accepted
	}
	switch header.Get(OutcomeHeader) {
	case "refused":
		return history.Refused
	case "unknown":
		return history.Unknown
	}
	switch {
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		return history.Unknown
	case code >= 400 && code < 500:
		return history.Refused
	}
	return history.Unknown
}

// ClassifyError says what it means that there was no answer, and names the cause
// in a few words without addresses, so that equal causes are equal texts. Only a
// connection that was never made is Refused: nothing can have been sent.
func ClassifyError(err error) (history.Outcome, string) {
	outcome := history.Unknown
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "dial" || op.Op == "proxyconnect") {
		outcome = history.Refused
	}
	return outcome, cause(err)
}

const causeBytes = 80

func cause(err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset"
	case errors.Is(err, syscall.EPIPE):
		return "broken pipe"
	case errors.Is(err, syscall.EHOSTUNREACH):
		return "no route to host"
	case errors.Is(err, syscall.ENETUNREACH):
		return "network unreachable"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "too many open files"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no free port"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "name not resolved: " + dns.Err
	}
	return innermost(err)
}

// innermost is the text of err without what wrapped it: wrappers of net add addresses.
func innermost(err error) string {
	for {
		switch e := err.(type) {
		case *url.Error:
			err = e.Err
		case *net.OpError:
			err = e.Err
		default:
			return shorten(err.Error())
		}
	}
}

func shorten(text string) string {
	if len(text) > causeBytes {
		text = strings.ToValidUTF8(text[:causeBytes], "")
	}
	return text
}
