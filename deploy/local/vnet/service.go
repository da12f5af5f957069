//go:build linux

package vnet

import (
	"errors"
	"fmt"
	"net/netip"
)

// Service is a virtual address and port behind which endpoints serve, as
// kube-proxy makes one: each new flow goes to one of the endpoints, drawn at
// random, and stays with it. Without endpoints connections are refused.
//
// An endpoint cannot reach itself through the service (no hairpin), and IP
// fragments to it are dropped.
type Service struct {
	net *Net
	vip endpoint
}

// Service makes a service without endpoints. The address must be in Prefix and
// no port's; one address may have services on several ports.
func (n *Net) Service(vip netip.AddrPort) (*Service, error) {
	if err := usable(vip.Addr()); err != nil {
		return nil, fmt.Errorf("service %v: %w", vip, err)
	}
	s := &Service{net: n, vip: toEndpoint(vip)}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return nil, fmt.Errorf("service %v: %w", vip, errClosed)
	case n.taken[s.vip.addr] != nil:
		return nil, fmt.Errorf("service %v: %s has that address", vip, n.taken[s.vip.addr].name)
	case s.vip.port == 0:
		return nil, fmt.Errorf("service %v: %w", vip, errors.New("no port"))
	case n.nat.has(s.vip):
		return nil, fmt.Errorf("service %v: it exists", vip)
	}
	n.nat.set(s.vip, nil)
	n.vips[s.vip.addr]++
	n.changedLocked()
	return s, nil
}

// SetEndpoints replaces the endpoints, all in Prefix. Flows that there are
// stay with the endpoint that they have.
func (s *Service) SetEndpoints(addrs []netip.AddrPort) error {
	ends := make([]endpoint, 0, len(addrs))
	for _, a := range addrs {
		if err := usable(a.Addr()); err != nil || a.Port() == 0 {
			return fmt.Errorf("endpoint %v of service %v:%d: %w", a, uintToAddr(s.vip.addr), s.vip.port, errors.Join(err, noPort(a)))
		}
		ends = append(ends, toEndpoint(a))
	}
	s.net.mu.Lock()
	for _, e := range ends {
		s.net.endpoints[e.addr] = true
		if p := s.net.ports[e.addr]; p != nil {
			p.endpoint.Store(true) // before a packet can be sent there
		}
	}
	s.net.mu.Unlock()
	s.net.nat.set(s.vip, ends)
	return nil
}

func noPort(a netip.AddrPort) error {
	if a.Port() == 0 {
		return errors.New("no port")
	}
	return nil
}

// Close removes the service and forgets its flows.
func (s *Service) Close() {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if !s.net.nat.has(s.vip) {
		return
	}
	s.net.nat.remove(s.vip)
	if s.net.vips[s.vip.addr]--; s.net.vips[s.vip.addr] == 0 {
		delete(s.net.vips, s.vip.addr)
	}
	s.net.changedLocked()
}
