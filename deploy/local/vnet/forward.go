//go:build linux

package vnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// forward passes connections from the host into the network.
type forward struct {
	net      *Net
	listener net.Listener
	via      *Port
	to       string
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

// dialTimeout is how long a forwarded connection waits for its other half.
const dialTimeout = 10 * time.Second

// Forward listens on the host at listen (port 0 picks one) and passes each
// connection on to the address to, dialled from via, until ctx ends or the
// network is closed. It returns the address that it listens on.
func (n *Net) Forward(ctx context.Context, listen string, via *Port, to string) (net.Addr, error) {
	if err := literal(to); err != nil {
		return nil, fmt.Errorf("forward %s to %s: %w", listen, to, err)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	listener, err := lc.Listen(ctx, "tcp4", listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("forward %s to %s: the port %s is in use by another program", listen, to, listen)
	}
	if err != nil {
		return nil, fmt.Errorf("forward %s to %s: %w", listen, to, err)
	}
	f := &forward{net: n, listener: listener, via: via, to: to}
	ctx, f.cancel = context.WithCancel(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		listener.Close()
		f.cancel()
		return nil, fmt.Errorf("forward %s to %s: %w", listen, to, errClosed)
	}
	n.forwards[f] = struct{}{}
	f.running.Go(func() { f.accept(ctx) })
	context.AfterFunc(ctx, func() { listener.Close() })
	return listener.Addr(), nil
}

// close ends the forward and waits for its connections.
func (f *forward) close() {
	f.cancel()
	f.running.Wait()
}

func (f *forward) accept(ctx context.Context) {
	defer func() {
		f.cancel()
		f.net.mu.Lock()
		delete(f.net.forwards, f)
		f.net.mu.Unlock()
	}()
	for {
		conn, err := f.listener.Accept()
		switch {
		case err == nil:
			f.running.Go(func() { f.pass(ctx, conn) })
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default:
			time.Sleep(10 * time.Millisecond) // out of files, say: others may go meanwhile
		}
	}
}

// pass couples two connections until both directions have ended.
func (f *forward) pass(ctx context.Context, outer net.Conn) {
	defer outer.Close()
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	inner, err := f.via.DialContext(dialing, "tcp4", f.to)
	if err != nil {
		abort(outer)
		return
	}
	defer inner.Close()
	defer context.AfterFunc(ctx, func() {
		outer.Close()
		inner.Close()
	})()
	var both sync.WaitGroup
	both.Go(func() { stream(inner, outer) })
	both.Go(func() { stream(outer, inner) })
	both.Wait()
}

// stream copies until the end, which it passes on: an orderly one as such,
// anything else as a reset.
func stream(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if err != nil {
		abort(to)
		abort(from)
		return
	}
	if half, ok := to.(*net.TCPConn); ok {
		half.CloseWrite()
	}
}

// abort closes a connection with a reset.
func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}
