package worker

import (
	"context"
	"sync"
	"time"
)

const (
	gateEvery = 250 * time.Millisecond
	gateWait  = 2 * time.Second
)

// gate is open while the store takes records. It is shut at first, and by a
// record that could not be made; only a proof opens it.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // closed while the gate is open
	closed chan struct{} // closed while the gate is shut
}

func newGate() *gate {
	g := &gate{opened: make(chan struct{}), closed: make(chan struct{})}
	close(g.closed)
	return g
}

func (g *gate) isOpen() bool {
	select {
	case <-g.openedNow():
		return true
	default:
		return false
	}
}

// wait returns true once the gate is open, false if ctx ends first.
func (g *gate) wait(ctx context.Context) bool {
	select {
	case <-g.openedNow():
		return true
	default:
	}
	select {
	case <-g.openedNow():
		return true
	case <-ctx.Done():
		return false
	}
}

func (g *gate) openedNow() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.opened
}

func (g *gate) closedNow() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// shut reports whether the gate was open until now.
func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.opened:
		g.opened = make(chan struct{})
		close(g.closed)
		return true
	default:
		return false
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.closed:
		g.closed = make(chan struct{})
		close(g.opened)
	default:
	}
}

// watch proves until ctx ends, whenever the gate is shut.
func (g *gate) watch(ctx context.Context, prove func(context.Context) error) {
	for {
		select {
		case <-g.closedNow():
		case <-ctx.Done():
			return
		}
		one, cancel := context.WithTimeout(ctx, gateWait)
		err := prove(one)
		cancel()
		if err == nil {
			g.open()
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(gateEvery):
		}
	}
}
