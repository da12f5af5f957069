//go:build linux

// Package vnet is a virtual network on one machine: network namespaces, each
// with an address of its own, joined by a switch in this process that can
// delay, lose, duplicate, corrupt, reorder, slow down and cut what passes, per
// direction and per pair of addresses, from a seed. It also does what
// kube-proxy does for a Service.
//
// Nothing of the host's own network is used or changed, and nothing has a name
// that could outlive the process: when it ends, however it ends, the kernel
// takes devices and namespaces back.
//
// # How a packet travels
//
// Every namespace has a TUN device whose other end is a file of this process.
// A loop (an OS thread) waits for all of them, reads a packet from one and
// writes it to another. Checksums and segmentation are left to the receiving
// kernel, as between a virtual machine and its host, so most packets are moved
// without being looked into beyond their addresses. What a packet meets is
// looked up in an immutable plan per pair of addresses, rebuilt only when
// something changed; there are no locks and no allocations on that path.
//
// The package knows nothing of pods, Chaos Mesh or trials. It needs Linux,
// root and /dev/net/tun.
package vnet

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Prefix holds every address of the network: RFC 2544's range for benchmarks,
// which is routed nowhere.
var Prefix = netip.MustParsePrefix("198.18.0.0/15")

// MTU of every device, in bytes: Ethernet's, so that packets are as many and
// as large as between machines.
const MTU = 1500

// Config says what kind of network to make.
type Config struct {
	// Seed determines all that is random: the same seed and the same packets
	// at a fault make the same decisions.
	Seed int64
	// Threads is how many threads switch packets. 0 is 1, which serves a few
	// hundred thousand packets a second and was never slower on two cores.
	Threads int
}

// Net is a virtual network. Its methods may be called from any goroutine.
type Net struct {
	seed  int64
	loops []*loop
	epoch time.Time     // zero of all times inside
	gen   atomic.Uint64 // goes up when a pair's plan may have changed
	nat   *nat

	mu        sync.Mutex
	closed    bool
	ports     map[uint32]*Port // that packets can be sent to
	taken     map[uint32]*Port // the same, and those being made or unmade
	endpoints map[uint32]bool  // addresses that services have sent to
	vips      map[uint32]int   // how many services an address has
	attached  int              // ports ever
	faults    []*Fault
	lastFault uint64
	pairs     []*pair
	captures  []*capture
	forwards  map[*forward]struct{}
}

// New makes a network without ports.
func New(cfg Config) (*Net, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("make a virtual network: network namespaces need root")
	}
	if _, err := os.Stat(tunPath); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s does not exist: load the kernel module tun, or pass the device into the container", tunPath)
		}
		return nil, fmt.Errorf("make a virtual network: %w", err)
	}
	n := &Net{
		seed:      cfg.Seed,
		epoch:     time.Now(),
		nat:       newNAT(cfg.Seed),
		ports:     make(map[uint32]*Port),
		taken:     make(map[uint32]*Port),
		endpoints: make(map[uint32]bool),
		vips:      make(map[uint32]int),
		forwards:  make(map[*forward]struct{}),
	}
	for range max(1, cfg.Threads) {
		l, err := newLoop(n)
		if err != nil {
			n.Close()
			return nil, fmt.Errorf("make a virtual network: %w", err)
		}
		n.loops = append(n.loops, l)
	}
	return n, nil
}

// Close removes everything: forwards, captures, devices, and the namespaces in
// which nothing runs any more. Processes started through ports are left to
// whoever started them, and they, and connections opened through ports, keep
// their namespace (without a device) as long as they last. Only the first call
// does anything.
func (n *Net) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	forwards, captures := n.forwards, slices.Clone(n.captures)
	n.forwards = nil
	n.mu.Unlock()

	for f := range forwards {
		f.close()
	}
	for _, l := range n.loops {
		l.stop()
	}
	var errs []error
	for _, c := range captures {
		errs = append(errs, c.stop())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.ports {
		p.release()
	}
	clear(n.ports)
	clear(n.taken)
	return errors.Join(errs...)
}

// now is the time since the network was made, in nanoseconds.
func (n *Net) now() int64 { return int64(time.Since(n.epoch)) }

// changedLocked makes every pair look up its plan again.
func (n *Net) changedLocked() { n.gen.Add(1) }

// onLoops runs fn on the thread of each loop and waits for it, so that
// afterwards no loop uses what was there before. It must not be called with
// mu held, since a loop may be waiting for that.
func (n *Net) onLoops(fn func(*loop)) {
	for _, l := range n.loops {
		l.do(func() { fn(l) })
	}
}

// pair is everything about packets from one port to one address. It belongs to
// the loop of the source, except for the counters.
type pair struct {
	src    *Port
	dst    uint32
	counts atomicCounters

	gen    uint64
	to     *Port    // nil: nobody there
	vip    bool     // the address of services
	cut    *stage   // the oldest partition
	stages []*stage // the other faults, oldest first
	taps   []*capture
}

// newPair is called by the loop of src on the first packet to dst.
func (n *Net) newPair(src *Port, dst uint32) *pair {
	pr := &pair{src: src, dst: dst}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pairs = append(n.pairs, pr)
	n.planLocked(pr)
	return pr
}

// plan looks up what a packet of the pair meets now.
func (n *Net) plan(pr *pair) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.planLocked(pr)
}

func (n *Net) planLocked(pr *pair) {
	pr.gen = n.gen.Load()
	pr.to = n.ports[pr.dst]
	pr.vip = n.vips[pr.dst] > 0
	pr.cut, pr.stages, pr.taps = nil, nil, nil
	for _, f := range n.faults {
		switch {
		case !f.matches(pr.src.addr, pr.dst):
		case f.imp.Partition == Connected:
			pr.stages = append(pr.stages, f.stageLocked(pr.src))
		case pr.cut == nil:
			pr.cut = f.stageLocked(pr.src)
		}
	}
	for _, c := range n.captures {
		if c.matches(pr.src.addr, pr.dst) {
			pr.taps = append(pr.taps, c)
		}
	}
}

// PairCounters are the counters of one direction between two ports. To a
// Service they are those of the endpoint that a packet was passed to.
type PairCounters struct {
	From, To         netip.Addr
	FromName, ToName string // "" where no port has the address
	Counters
}

// Counters returns the counters of every pair of addresses between which
// anything was ever sent, ordered by address.
func (n *Net) Counters() []PairCounters {
	n.mu.Lock()
	defer n.mu.Unlock()
	sums := make(map[linkKey]*PairCounters)
	for _, pr := range n.pairs {
		key := linkKey{pr.src.addr, pr.dst}
		sum := sums[key]
		if sum == nil {
			sum = &PairCounters{From: uintToAddr(pr.src.addr), To: uintToAddr(pr.dst), FromName: pr.src.name}
			if to := n.ports[pr.dst]; to != nil {
				sum.ToName = to.name
			}
			sums[key] = sum
		}
		sum.add(pr.counts.load())
	}
	all := make([]PairCounters, 0, len(sums))
	for _, sum := range sums {
		all = append(all, *sum)
	}
	slices.SortFunc(all, func(a, b PairCounters) int {
		if c := a.From.Compare(b.From); c != 0 {
			return c
		}
		return a.To.Compare(b.To)
	})
	return all
}
