package vnet

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// nat is what kube-proxy makes of the kernel's connection tracking: packets to
// a service's virtual address go to one of its endpoints, all of a flow to the
// same one, and answers come back under the virtual address. It has no clock:
// every call says what time it is.
type nat struct {
	mu       sync.Mutex
	seed     uint64
	drawn    uint64
	services map[endpoint][]endpoint // by virtual address
	flows    map[flowKey]*flow       // by client and virtual address
	answers  map[flowKey]*flow       // by client and endpoint
}

// endpoint is an address and port in numbers.
type endpoint struct {
	addr uint32
	port uint16
}

func toEndpoint(a netip.AddrPort) endpoint { return endpoint{addrToUint(a.Addr()), a.Port()} }

// flowKey is a flow as seen from the client.
type flowKey struct {
	client, server endpoint
	proto          uint8
}

type flow struct {
	key     flowKey // server is the virtual address
	end     endpoint
	expires int64
	state   flowState
}

type flowState uint8

const (
	flowNew       flowState = iota // nothing came back yet
	flowOpen                       // both sides have spoken
	flowHalf                       // the client has said FIN
	flowHalfOther                  // the endpoint has
	flowClosed                     // both have, or one has reset
)

// How long a flow in which nothing moves is remembered: Linux's and
// kube-proxy's defaults.
const (
	keepNew    = int64(120 * time.Second)
	keepOpen   = int64(24 * time.Hour)
	keepHalf   = int64(time.Hour)
	keepClosed = int64(120 * time.Second)
	keepReset  = int64(10 * time.Second)
	keepUDP    = int64(30 * time.Second)
	maxFlows   = 1 << 17
	// sweep is how many old flows a new one looks at, to forget the expired.
	sweep = 16
)

// verdict is what becomes of a packet to a virtual address.
type verdict int

const (
	translated verdict = iota
	refused            // no endpoint, or no such port or flow
	ignored            // not TCP or UDP
)

func newNAT(seed int64) *nat {
	return &nat{
		seed: mix(uint64(seed) ^ 0x5e41ce), services: make(map[endpoint][]endpoint),
		flows: make(map[flowKey]*flow), answers: make(map[flowKey]*flow),
	}
}

// set gives a service its endpoints. Flows that there are keep theirs.
func (n *nat) set(vip endpoint, ends []endpoint) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.services[vip] = slices.Clone(ends)
}

func (n *nat) has(vip endpoint) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.services[vip]
	return ok
}

// remove forgets a service and its flows.
func (n *nat) remove(vip endpoint) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.services, vip)
	for _, f := range n.flows {
		if f.key.server == vip {
			n.forget(f)
		}
	}
}

// in returns the endpoint for a packet to a virtual address.
func (n *nat) in(now int64, p *packet) (endpoint, verdict) {
	if !p.ports {
		return endpoint{}, ignored
	}
	key := flowKey{endpoint{p.src, p.sport}, endpoint{p.dst, p.dport}, p.proto}
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.flows[key]
	opens := p.proto == protoUDP || p.flags&(tcpSYN|tcpACK|tcpRST) == tcpSYN
	if f != nil && (f.expires < now || f.state == flowClosed && opens) {
		n.forget(f)
		f = nil
	}
	if f == nil {
		if f = n.open(now, key, opens); f == nil {
			return endpoint{}, refused
		}
	}
	f.touch(now, p, true)
	return f.end, translated
}

// open starts a flow to an endpoint drawn at random, from the seed.
func (n *nat) open(now int64, key flowKey, opens bool) *flow {
	ends := n.services[key.server]
	if len(ends) == 0 || !opens {
		return nil
	}
	n.sweep(now)
	if len(n.flows) >= maxFlows {
		return nil
	}
	n.drawn++
	f := &flow{key: key, end: ends[mix(n.seed+n.drawn*0x9e3779b97f4a7c15)%uint64(len(ends))]}
	n.flows[key] = f
	n.answers[f.answerKey()] = f
	return f
}

func (f *flow) answerKey() flowKey { return flowKey{f.key.client, f.end, f.key.proto} }

func (n *nat) forget(f *flow) {
	delete(n.flows, f.key)
	if key := f.answerKey(); n.answers[key] == f {
		delete(n.answers, key)
	}
}

func (n *nat) sweep(now int64) {
	left := sweep
	for _, f := range n.flows { // from a random place on
		if f.expires < now {
			n.forget(f)
		}
		if left--; left == 0 {
			return
		}
	}
}

// out returns the virtual address for an answer; ok is false if the packet
// belongs to no translated flow.
func (n *nat) out(now int64, p *packet) (vip endpoint, ok bool) {
	key := flowKey{endpoint{p.dst, p.dport}, endpoint{p.src, p.sport}, p.proto}
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.answers[key]
	if f == nil || f.expires < now {
		return endpoint{}, false
	}
	f.touch(now, p, false)
	return f.key.server, true
}

// direct is told of the first packet of a connection from a client to an
// endpoint itself. If a flow that is over had the same client port, its
// answers would be mistaken for this one's.
func (n *nat) direct(now int64, p *packet) {
	key := flowKey{endpoint{p.src, p.sport}, endpoint{p.dst, p.dport}, p.proto}
	n.mu.Lock()
	defer n.mu.Unlock()
	if f := n.answers[key]; f != nil && (f.state == flowClosed || f.expires < now) {
		n.forget(f)
	}
}

// touch notes that a packet of the flow has passed.
func (f *flow) touch(now int64, p *packet, fromClient bool) {
	if p.proto == protoUDP {
		f.expires = now + keepUDP
		return
	}
	half, otherHalf := flowHalf, flowHalfOther
	if !fromClient {
		half, otherHalf = flowHalfOther, flowHalf
	}
	switch {
	case f.state == flowClosed:
		return // the last words do not prolong it
	case p.flags&tcpRST != 0:
		f.state, f.expires = flowClosed, now+keepReset
		return
	case f.state == flowNew && !fromClient:
		f.state = flowOpen
	}
	if p.flags&tcpFIN != 0 {
		if f.state == otherHalf {
			f.state, f.expires = flowClosed, now+keepClosed
			return
		}
		f.state = half
	}
	switch f.state {
	case flowNew:
		f.expires = now + keepNew
	case flowOpen:
		f.expires = now + keepOpen
	default:
		f.expires = now + keepHalf
	}
}
