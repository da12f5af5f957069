//go:build linux

package vnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// prefixMask is Prefix's.
const prefixMask = 0xfffe0000

// Port is an address in the network: a network namespace of its own and the
// place of its device in the switch. Its methods may be called from any
// goroutine.
type Port struct {
	net  *Net
	name string
	ip   netip.Addr
	addr uint32
	loop *loop
	tun  int

	endpoint atomic.Bool // has been an endpoint of a service

	// Of the loop.
	pairs    map[uint32]*pair
	lastPair *pair

	mu     sync.RWMutex // for reading while a thread enters ns
	ns     namespace
	closed bool
}

// Attach makes a port: a namespace with loopback up and a device that has addr
// in Prefix. The name is for errors and counters.
func (n *Net) Attach(name string, addr netip.Addr) (*Port, error) {
	p, err := n.attach(name, addr)
	if err != nil {
		return nil, fmt.Errorf("attach %s at %v: %w", name, addr, err)
	}
	return p, nil
}

func (n *Net) attach(name string, ip netip.Addr) (*Port, error) {
	if err := usable(ip); err != nil {
		return nil, err
	}
	p := &Port{net: n, name: name, ip: ip, addr: addrToUint(ip), tun: -1, pairs: make(map[uint32]*pair)}
	if err := n.reserve(p); err != nil {
		return nil, err
	}
	var err error
	if p.ns, p.tun, err = newNamespace(p.addr, prefixMask); err != nil {
		n.withdraw(p)
		return nil, err
	}
	err = errClosed // unless the loop still runs
	p.loop.do(func() { err = p.loop.add(p) })
	if err != nil {
		n.withdraw(p)
		unix.Close(p.tun)
		p.ns.close()
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed { // between the loop's yes and now
		p.release()
		return nil, errClosed
	}
	p.endpoint.Store(n.endpoints[p.addr])
	n.ports[p.addr] = p
	n.changedLocked()
	return p, nil
}

// usable reports why a port or service cannot have the address.
func usable(ip netip.Addr) error {
	if !ip.Is4() || !Prefix.Contains(ip) {
		return fmt.Errorf("the address is not in %v", Prefix)
	}
	if host := addrToUint(ip) &^ prefixMask; host == 0 || host == ^uint32(prefixMask) {
		return fmt.Errorf("the address is that of the network %v itself, or its broadcast address", Prefix)
	}
	return nil
}

// reserve takes p's address, so that nobody else gets it meanwhile.
func (n *Net) reserve(p *Port) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errClosed
	}
	if q := n.taken[p.addr]; q != nil {
		return fmt.Errorf("%s has that address", q.name)
	}
	if n.vips[p.addr] > 0 {
		return errors.New("a service has that address")
	}
	n.taken[p.addr] = p
	p.loop = n.loops[n.attached%len(n.loops)]
	n.attached++
	return nil
}

func (n *Net) withdraw(p *Port) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.taken, p.addr)
}

// Close detaches the port: its device goes, and with it what is still on the
// way to it. Counters of its pairs stay. The address is free again.
func (p *Port) Close() error {
	n := p.net
	n.mu.Lock()
	if n.ports[p.addr] != p {
		n.mu.Unlock()
		return nil // closed before, or with the network
	}
	delete(n.ports, p.addr)
	n.changedLocked()
	n.mu.Unlock()
	n.onLoops(func(l *loop) { l.forget(p) })

	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.faults {
		f.forgetLocked(p)
	}
	delete(n.taken, p.addr)
	p.release()
	return nil
}

// release closes the files; no loop may use them any more.
func (p *Port) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	unix.Close(p.tun)
	p.ns.close()
}

// Name returns the name given to Attach.
func (p *Port) Name() string { return p.name }

// Addr returns the port's address.
func (p *Port) Addr() netip.Addr { return p.ip }

// do runs fn on a throwaway thread inside the port's namespace.
func (p *Port) do(fn func() error) (err error) {
	discard(func() {
		if err = p.enter(); err == nil {
			err = fn()
		}
	})
	return err
}

// enter takes the calling thread into the namespace.
func (p *Port) enter() error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return fmt.Errorf("%s is detached", p.name)
	}
	return p.ns.enter()
}

// Start starts cmd inside the namespace. Prepare, unless nil, runs before that
// on the very OS thread that will fork, and may change it (enter a cgroup,
// say), for the thread ends right afterwards.
//
// That is why cmd must not ask for a parent-death signal: the kernel would
// send it when that thread ends.
func (p *Port) Start(cmd *exec.Cmd, prepare func() error) error {
	if cmd.SysProcAttr != nil && cmd.SysProcAttr.Pdeathsig != 0 {
		return fmt.Errorf("start %s in %s: a parent-death signal would kill it at once, because the thread that forks does not stay", cmd.Path, p.name)
	}
	err := p.do(func() error {
		if prepare != nil {
			if err := prepare(); err != nil {
				return err
			}
		}
		return cmd.Start()
	})
	if err != nil {
		return fmt.Errorf("start %s in %s: %w", cmd.Path, p.name, err)
	}
	return nil
}

// DialContext connects from inside the namespace; the connection may be used
// from anywhere. The address is an IP address and a port: there is no DNS.
func (p *Port) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	if err := literal(address); err != nil {
		return nil, fmt.Errorf("dial %s from %s: %w", address, p.name, err)
	}
	err = p.do(func() error {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("from %s: %w", p.name, err)
	}
	return conn, nil
}

// Listen listens for connections inside the namespace.
func (p *Port) Listen(network, address string) (l net.Listener, err error) {
	if err := literal(address); err != nil {
		return nil, fmt.Errorf("listen on %s in %s: %w", address, p.name, err)
	}
	err = p.do(func() error {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false) // not asked for, and one more thing between
		l, err = lc.Listen(context.Background(), network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("in %s: %w", p.name, err)
	}
	return l, nil
}

// ListenPacket is Listen for datagrams.
func (p *Port) ListenPacket(network, address string) (c net.PacketConn, err error) {
	if err := literal(address); err != nil {
		return nil, fmt.Errorf("listen on %s in %s: %w", address, p.name, err)
	}
	err = p.do(func() error {
		c, err = net.ListenPacket(network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("in %s: %w", p.name, err)
	}
	return c, nil
}

// literal makes sure that no resolver is asked, which would run on another
// thread and so ask the host's.
func literal(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if host == "" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return fmt.Errorf("%q is not an IP address, and the network has no DNS", host)
	}
	return nil
}
