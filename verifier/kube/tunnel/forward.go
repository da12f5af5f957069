package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// forward opens a connection to a port of a pod through the API server. Each has a
// session of its own: when a pod ends, the kubelet ends all streams of a session.
func forward(ctx context.Context, config *rest.Config, namespace, pod string, port int) (net.Conn, error) {
	dialer, err := sessions(config, namespace, pod)
	if err != nil {
		return nil, err
	}
	type opened struct {
		conn net.Conn
		err  error
	}
	done := make(chan opened, 1)
	// The library's dialers take no context: one that is late is closed unused.
	go func() {
		conn, err := open(dialer, pod, port)
		if err == nil && ctx.Err() != nil {
			conn.Close()
		}
		done <- opened{conn, err}
	}()
	select {
	case <-ctx.Done():
		go func() {
			if late := <-done; late.err == nil {
				late.conn.Close()
			}
		}()
		return nil, fmt.Errorf("through the API server to pod %s: %w", pod, context.Cause(ctx))
	case o := <-done:
		return o.conn, o.err
	}
}

// sessions dials WebSockets, and SPDY where an old API server or a proxy in between
// knows no better.
func sessions(config *rest.Config, namespace, pod string) (httpstream.Dialer, error) {
	at, err := podURL(config, namespace, pod)
	if err != nil {
		return nil, err
	}
	modern, err := portforward.NewSPDYOverWebsocketDialerForStreaming(at, config)
	if err != nil {
		return nil, fmt.Errorf("forward to pod %s: %w", pod, err)
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, fmt.Errorf("forward to pod %s: %w", pod, err)
	}
	old := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, at)
	return portforward.NewFallbackDialerForStreaming(modern, old, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}

// podURL is the API server's door to a pod's ports.
func podURL(config *rest.Config, namespace, pod string) (*url.URL, error) {
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("address of the API server: %w", err)
	}
	return server.JoinPath("api", "v1", "namespaces", namespace, "pods", pod, "portforward"), nil
}

// open begins a session and, in it, the two streams that make a connection.
func open(dialer httpstream.Dialer, pod string, port int) (net.Conn, error) {
	session, protocol, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}
	if protocol != portforward.PortForwardProtocolV1Name {
		session.Close()
		return nil, fmt.Errorf("the API server speaks %q", protocol)
	}
	headers := http.Header{}
	headers.Set(core.PortHeader, strconv.Itoa(port))
	headers.Set(core.PortForwardRequestIDHeader, "0")
	headers.Set(core.StreamType, core.StreamTypeError)
	complaints, err := session.CreateStream(headers)
	if err != nil {
		session.Close()
		return nil, fmt.Errorf("open the error stream: %w", err)
	}
	complaints.Close() // nothing is written to it
	headers.Set(core.StreamType, core.StreamTypeData)
	data, err := session.CreateStream(headers)
	if err != nil {
		session.Close()
		return nil, fmt.Errorf("open the data stream: %w", err)
	}
	c := &conn{Stream: data, session: session, remote: addr(fmt.Sprintf("%s:%d", pod, port))}
	go c.listen(complaints)
	return c, nil
}

// conn is a forwarded connection.
type conn struct {
	httpstream.Stream
	session httpstream.Connection
	remote  addr

	mu        sync.Mutex
	complaint error // of the kubelet; nil while all is well
}

// listen waits for the kubelet's word that the port cannot be reached, or no more.
func (c *conn) listen(complaints io.Reader) {
	text, err := io.ReadAll(io.LimitReader(complaints, 4096))
	if err != nil || len(text) == 0 {
		return
	}
	c.mu.Lock()
	c.complaint = errors.New(strings.TrimSpace(string(text)))
	c.mu.Unlock()
	c.session.Close()
}

// why puts the kubelet's reason in the place of an end without one.
func (c *conn) why(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && c.complaint != nil {
		return fmt.Errorf("forward to %s: %w", c.remote, c.complaint)
	}
	return err
}

// Read reads what the pod sends.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Stream.Read(p)
	return n, c.why(err)
}

// Write sends to the pod.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Stream.Write(p)
	return n, c.why(err)
}

// Close ends the connection and its session.
func (c *conn) Close() error { return c.session.Close() }

// LocalAddr is this process, which has no address in the cluster.
func (c *conn) LocalAddr() net.Addr { return addr("tunnel") }

// RemoteAddr is the pod and its port.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline is refused: the streams of the API server know none. HTTP clients
// use contexts.
func (c *conn) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline is refused.
func (c *conn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline is refused.
func (c *conn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// addr names an end of a tunnel.
type addr string

func (a addr) Network() string { return "tcp" }
func (a addr) String() string  { return string(a) }
