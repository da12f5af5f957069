package store

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// rawPing keeps a connection of its own, so that what it measures is the way
// to the server and not the queue of commands in front of it.
type rawPing struct {
	mu   sync.Mutex
	conn net.Conn
	addr string
	r    *bufio.Reader
}

// Ping makes one round trip to the primary, and one more for the handshake
// when it has to dial: the first time, after an error, and after a failover.
// Any answer will do.
func (s *Store) Ping(ctx context.Context) error {
	p := s.primary.Load()
	if p == nil {
		return ErrNoPrimary
	}
	return s.raw.ping(ctx, p.addr)
}

func (p *rawPing) ping(ctx context.Context, addr string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil && p.addr != addr {
		p.drop()
	}
	if p.conn == nil {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		p.conn, p.addr, p.r = conn, addr, bufio.NewReader(conn)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = p.conn.SetDeadline(deadline)
	}
	if _, err := p.conn.Write([]byte("PING\r\n")); err != nil {
		p.drop()
		return fmt.Errorf("ping %s: %w", addr, err)
	}
	if _, err := p.r.ReadSlice('\n'); err != nil {
		p.drop()
		return fmt.Errorf("ping %s: %w", addr, err)
	}
	return nil
}

func (p *rawPing) drop() {
	_ = p.conn.Close()
	p.conn = nil
}

func (p *rawPing) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		p.drop()
	}
}
