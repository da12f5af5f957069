package attack

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"seatrial/loadgen/history"
)

// Vegeta numbers a hit inside its worker, after it has asked the targeter for a
// request, and tells only the wire: in this header. It is therefore the
// transport that ties a task to its hit exactly, however many workers there are.
const seqHeader = "X-Vegeta-Seq"

// transport fills in the body of the hit's task, and keeps what net/http knows
// about a failure: Vegeta's Result has only its text.
type transport struct {
	base     http.RoundTripper
	tasks    *taskSource
	timeout  time.Duration
	number   func(seq uint64) uint64 // hit number among all replicas
	mu       sync.Mutex
	failures map[uint64]failure // by seq, until the hit's Result is recorded
}

type failure struct {
	outcome history.Outcome
	cause   string
}

// RoundTrip implements http.RoundTripper. It keeps the timeout itself: behind a
// transport that it does not know, http.Client spends a goroutine a request on it.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	seq, err := strconv.ParseUint(req.Header.Get(seqHeader), 10, 64)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(req.Context(), t.timeout)
	req = req.WithContext(ctx)
	if t.tasks != nil {
		setBody(req, t.tasks.body(t.tasks.number(t.number(seq))))
	}
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		cancel()
		outcome, cause := ClassifyError(err)
		t.fail(seq, failure{outcome, cause})
		return nil, err
	}
	resp.Body = &answer{ReadCloser: resp.Body, seq: seq, transport: t, cancel: cancel}
	return resp, nil
}

// answer is the body of an answer. An answer that breaks off is none: Unknown.
type answer struct {
	io.ReadCloser
	seq       uint64
	transport *transport
	cancel    context.CancelFunc
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		a.transport.fail(a.seq, failure{history.Unknown, "answer cut: " + cause(err)})
	}
	return n, err
}

func (a *answer) Close() error {
	a.cancel()
	return a.ReadCloser.Close()
}

// setBody changes req, a copy that is the transport's own. GetBody lets net/http
// send again on a fresh connection when an idle one turns out dead before a byte
// was written.
func setBody(req *http.Request, body []byte) {
	req.ContentLength = int64(len(body))
	req.Body = io.NopCloser(bytes.NewReader(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
}

func (t *transport) fail(seq uint64, f failure) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures[seq] = f
}

// takeFailure returns and forgets what is known of the failed hit seq.
func (t *transport) takeFailure(seq uint64) (failure, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, ok := t.failures[seq]
	delete(t.failures, seq)
	return f, ok
}

// newTransport returns net/http's transport with Vegeta's settings: as many
// connections as the load needs, kept for the next hit.
func newTransport(c Config) *http.Transport {
	dialer := &net.Dialer{KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     c.TLS,
		MaxIdleConnsPerHost: 10_000,
		ForceAttemptHTTP2:   c.HTTP2,
	}
}
