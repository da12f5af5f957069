//go:build linux

package vnet

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
)

// Fault is an Impairment in force on some links.
type Fault struct {
	net   *Net
	id    uint64
	name  string
	links []linkKey
	imp   Impairment

	removed bool              // guarded by Net.mu
	stages  map[*Port]*stage  // guarded by Net.mu; one per source
	past    []*atomicCounters // of sources that left; guarded by Net.mu
}

// linkKey is a Link in numbers; 0 is any.
type linkKey struct{ from, to uint32 }

// matches reports whether the link from one address to the other is meant.
func (f *Fault) matches(from, to uint32) bool {
	for _, l := range f.links {
		if (l.from == 0 || l.from == from) && (l.to == 0 || l.to == to) {
			return true
		}
	}
	return false
}

// stage is a fault at one source. All but the counters belongs to the loop of
// that source's port.
type stage struct {
	fault  *Fault
	dice   *dice
	bucket *bucket // nil without a rate
	held   int     // packets that wait because of it
	split  bool    // segmentation offload is undone before it decides
	counts atomicCounters
}

// Impair puts an impairment in force on links (directed; no link is an error).
// The name is for errors and, with the seed, determines every decision: the
// same name meets the same fate again. Several faults on a link are passed one
// after another, oldest first; partitions are looked at before all others.
func (n *Net) Impair(name string, links []Link, imp Impairment) (*Fault, error) {
	if err := imp.validate(); err != nil {
		return nil, fmt.Errorf("impair %s: %w", name, err)
	}
	keys, err := linkKeys(links)
	if err != nil {
		return nil, fmt.Errorf("impair %s: %w", name, err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("impair %s: no links", name)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, fmt.Errorf("impair %s: %w", name, errClosed)
	}
	n.lastFault++
	f := &Fault{net: n, id: n.lastFault, name: name, links: keys, imp: imp, stages: make(map[*Port]*stage)}
	n.faults = append(n.faults, f)
	n.changedLocked()
	return f, nil
}

// linkKeys checks and converts links.
func linkKeys(links []Link) ([]linkKey, error) {
	keys := make([]linkKey, 0, len(links))
	for _, l := range links {
		var k linkKey
		for _, side := range []struct {
			addr netip.Addr
			key  *uint32
		}{{l.From, &k.from}, {l.To, &k.to}} {
			if !side.addr.IsValid() {
				continue
			}
			if !Prefix.Contains(side.addr) {
				return nil, fmt.Errorf("link %v -> %v: %v is not in %v", l.From, l.To, side.addr, Prefix)
			}
			*side.key = addrToUint(side.addr)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// stageLocked returns the fault's stage at src.
func (f *Fault) stageLocked(src *Port) *stage {
	if s := f.stages[src]; s != nil {
		return s
	}
	s := &stage{fault: f, dice: newDice(f.net.seed, f.name, src.addr, &f.imp), split: f.imp.perPacket()}
	if f.imp.Rate > 0 {
		s.bucket = newBucket(f.imp.Rate, f.imp.Burst, f.imp.Limit)
	}
	f.stages[src] = s
	return s
}

// forgetLocked drops the stage of a source that leaves, but not its counters.
func (f *Fault) forgetLocked(src *Port) {
	if s := f.stages[src]; s != nil {
		f.past = append(f.past, &s.counts)
		delete(f.stages, src)
	}
}

// Remove ends the fault. What it holds back is released in order before Remove
// returns. Only the first call does anything.
func (f *Fault) Remove() {
	n := f.net
	n.mu.Lock()
	if f.removed || n.closed {
		f.removed = true
		n.mu.Unlock()
		return
	}
	f.removed = true
	n.faults = slices.DeleteFunc(n.faults, func(g *Fault) bool { return g == f })
	n.changedLocked()
	n.mu.Unlock()
	n.onLoops(func(l *loop) { l.releaseFault(f) })
}

// Spare takes every fault off the links from and to an address, whoever asked for it: what
// comes there next is another pod, and has none of the old one's faults. A link that is
// meant for everyone stays.
func (n *Net) Spare(addr netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := addrToUint(addr)
	for _, f := range n.faults {
		f.links = slices.DeleteFunc(slices.Clone(f.links), func(l linkKey) bool { return l.from == key || l.to == key })
	}
	n.changedLocked()
}

// Name returns the name given to Impair.
func (f *Fault) Name() string { return f.name }

// Counters returns what the fault has done so far, also after Remove.
func (f *Fault) Counters() Counters {
	f.net.mu.Lock()
	defer f.net.mu.Unlock()
	var sum Counters
	for _, s := range f.stages {
		sum.add(s.counts.load())
	}
	for _, c := range f.past {
		sum.add(c.load())
	}
	return sum
}

// Counters count packets of one MTU at most, as they would be on a wire.
type Counters struct {
	Packets    uint64 // that met the fault, or were sent on the link
	Bytes      uint64 // of IP in them
	Dropped    uint64 // lost, cut off, or without room in a queue
	Delayed    uint64
	Duplicated uint64
	Corrupted  uint64
	Reordered  uint64 // sent ahead of their turn
	Rejected   uint64 // refused with an answer
}

func (c *Counters) add(d Counters) {
	c.Packets += d.Packets
	c.Bytes += d.Bytes
	c.Dropped += d.Dropped
	c.Delayed += d.Delayed
	c.Duplicated += d.Duplicated
	c.Corrupted += d.Corrupted
	c.Reordered += d.Reordered
	c.Rejected += d.Rejected
}

// atomicCounters is Counters that one goroutine writes and others read.
type atomicCounters struct {
	packets, bytes, dropped, delayed, duplicated, corrupted, reordered, rejected atomic.Uint64
}

func (c *atomicCounters) load() Counters {
	return Counters{
		Packets: c.packets.Load(), Bytes: c.bytes.Load(), Dropped: c.dropped.Load(), Delayed: c.delayed.Load(),
		Duplicated: c.duplicated.Load(), Corrupted: c.corrupted.Load(), Reordered: c.reordered.Load(), Rejected: c.rejected.Load(),
	}
}

var errClosed = errors.New("the network is closed")

// Faults returns the names of the faults that are in force, oldest first.
func (n *Net) Faults() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	names := make([]string, len(n.faults))
	for i, f := range n.faults {
		names[i] = f.name
	}
	return names
}
