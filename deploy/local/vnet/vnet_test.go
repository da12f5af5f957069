//go:build linux

package vnet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	ipA = netip.MustParseAddr("198.18.0.1")
	ipB = netip.MustParseAddr("198.18.0.2")
	ipC = netip.MustParseAddr("198.19.1.3")
)

// newNet makes a network that goes with the test.
func newNet(t *testing.T) *Net { return newNetOf(t, 1) }

func newNetOf(t *testing.T, threads int) *Net {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := os.Stat(tunPath); err != nil {
		t.Skipf("no TUN device: %v", err)
	}
	n, err := New(Config{Seed: 1, Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func attach(t *testing.T, n *Net, ip netip.Addr) *Port {
	t.Helper()
	p, err := n.Attach("pod-"+ip.String(), ip)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// echo serves TCP echo on port 7 of p.
func echo(t *testing.T, p *Port) {
	t.Helper()
	serve(t, p, ":7", func(c net.Conn) { io.Copy(c, c) })
}

func serve(t *testing.T, p *Port, address string, handle func(net.Conn)) {
	t.Helper()
	l, err := p.Listen("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
}

func dial(p *Port, network, address string, patience time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return p.DialContext(ctx, network, address)
}

func mustDial(t *testing.T, p *Port, network, address string) net.Conn {
	t.Helper()
	c, err := dial(p, network, address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// roundTrip sends one byte and waits for it.
func roundTrip(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	start := time.Now()
	if _, err := c.Write([]byte{42}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

func impair(t *testing.T, n *Net, imp Impairment, links ...Link) *Fault {
	t.Helper()
	f, err := n.Impair(t.Name(), links, imp)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// datagrams sends count numbered datagrams from a to b and returns the numbers
// in the order in which they came, until none has come for a while.
func datagrams(t *testing.T, a, b *Port, count int, pace time.Duration) []int {
	t.Helper()
	in, err := b.ListenPacket("udp4", ":9")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out := mustDial(t, a, "udp4", net.JoinHostPort(b.Addr().String(), "9"))
	go func() {
		for i := range count {
			out.Write(binary.BigEndian.AppendUint64(nil, uint64(i)))
			time.Sleep(pace)
		}
	}()
	var got []int
	buf := make([]byte, 100)
	for {
		in.SetReadDeadline(time.Now().Add(500*time.Millisecond + pace))
		size, _, err := in.ReadFrom(buf)
		if err != nil {
			return got
		}
		if size == 8 {
			got = append(got, int(binary.BigEndian.Uint64(buf)))
		}
	}
}

func TestRoundTrips(t *testing.T) {
	n := newNet(t)
	a, b := attach(t, n, ipA), attach(t, n, ipC)
	echo(t, b)
	c := mustDial(t, a, "tcp4", "198.19.1.3:7")
	if from := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap(); from != ipA {
		t.Errorf("the connection comes from %v, want %v", from, ipA)
	}
	roundTrip(t, c)
	if got := datagrams(t, a, b, 10, 0); len(got) != 10 {
		t.Errorf("%d of 10 datagrams came", len(got))
	}
	self := mustDial(t, b, "tcp4", "127.0.0.1:7")
	roundTrip(t, self)
	for _, pc := range n.Counters() {
		if pc.Dropped != 0 {
			t.Errorf("%s -> %s: %d packets dropped in peace", pc.FromName, pc.ToName, pc.Dropped)
		}
	}
}

// Bulk data uses segmentation offload: its packets must arrive whole.
func TestBulk(t *testing.T) {
	n := newNet(t)
	a, b := attach(t, n, ipA), attach(t, n, ipB)
	sum := make(chan [32]byte, 1)
	serve(t, b, ":7", func(c net.Conn) {
		h := sha256.New()
		io.Copy(h, c)
		sum <- [32]byte(h.Sum(nil))
	})
	data := randomBytes(32 << 20)
	c := mustDial(t, a, "tcp4", "198.18.0.2:7")
	start := time.Now()
	if _, err := c.Write(data); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got := <-sum; got != sha256.Sum256(data) {
		t.Error("what came is not what was sent")
	}
	t.Logf("%.0f MB/s", float64(len(data))/1e6/time.Since(start).Seconds())
	for _, pc := range n.Counters() {
		if pc.From == ipA && (pc.Bytes < uint64(len(data)) || pc.Bytes/pc.Packets > MTU) {
			t.Errorf("counted %d bytes in %d packets; want at least %d in packets of at most %d", pc.Bytes, pc.Packets, len(data), MTU)
		}
	}
}

func randomBytes(size int) []byte {
	seed := [32]byte{1}
	data := make([]byte, size)
	rand.NewChaCha8(seed).Read(data)
	return data
}

func TestStart(t *testing.T) {
	n := newNet(t)
	a := attach(t, n, ipA)
	var out bytes.Buffer
	// The routing table belongs to the namespace of the process.
	cmd := exec.Command("/bin/cat", "/proc/self/net/route", "/proc/self/net/if_inet6")
	cmd.Stdout = &out
	var thread int
	if err := a.Start(cmd, func() error { thread = unix.Gettid(); return nil }); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if thread == 0 || thread == unix.Getpid() {
		t.Errorf("prepare ran on thread %d of process %d", thread, unix.Getpid())
	}
	routes := out.String()
	if !strings.Contains(routes, "eth0") || strings.Count(routes, "\n") != 2 {
		t.Errorf("want one route, through eth0, and no IPv6 address:\n%s", routes)
	}
	err := a.Start(exec.Command("/bin/true"), func() error { return errors.New("not ready") })
	if err == nil || !strings.Contains(err.Error(), "not ready") {
		t.Errorf("prepare's error: %v", err)
	}
	dying := exec.Command("/bin/true")
	dying.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := a.Start(dying, nil); err == nil || !strings.Contains(err.Error(), "parent-death") {
		t.Errorf("a parent-death signal: %v", err)
	}
}

func TestDetach(t *testing.T) {
	n := newNet(t)
	a, b := attach(t, n, ipA), attach(t, n, ipB)
	f := impair(t, n, Impairment{Delay: time.Hour}, Link{ipB, ipA})
	datagrams(t, b, a, 5, 0) // all of them held back
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if _, err := dial(a, "tcp4", "198.18.0.2:7", 200*time.Millisecond); err == nil {
		t.Error("a detached port answers")
	}
	if _, err := dial(b, "tcp4", "198.18.0.1:7", time.Second); err == nil || !strings.Contains(err.Error(), "detached") {
		t.Errorf("dial from a detached port: %v", err)
	}
	if c := f.Counters(); c.Delayed != 5 {
		t.Errorf("counters of a detached source %+v", c)
	}
	f.Remove()
	b = attach(t, n, ipB)
	echo(t, b)
	roundTrip(t, mustDial(t, a, "tcp4", "198.18.0.2:7"))
}

func TestWrongUse(t *testing.T) {
	n := newNet(t)
	attach(t, n, ipA)
	attachAt := func(s string) error {
		_, err := n.Attach("x", netip.MustParseAddr(s))
		return err
	}
	impairWith := func(imp Impairment, links ...Link) error {
		_, err := n.Impair("x", links, imp)
		return err
	}
	ab := Link{ipA, ipB}
	for want, err := range map[string]error{
		"pod-198.18.0.1 has that address":  attachAt("198.18.0.1"),
		"not in 198.18.0.0/15":             attachAt("10.0.0.1"),
		"broadcast":                        attachAt("198.19.255.255"),
		"loss is 1.5":                      impairWith(Impairment{Loss: 1.5}, ab),
		"needs a burst and a limit":        impairWith(Impairment{Rate: 1}, ab),
		"reorder without a delay":          impairWith(Impairment{Reorder: 1}, ab),
		"impairs nothing":                  impairWith(Impairment{}, ab),
		"no links":                         impairWith(Impairment{Loss: 1}),
		"10.0.0.1 is not in 198.18.0.0/15": impairWith(Impairment{Loss: 1}, Link{To: netip.MustParseAddr("10.0.0.1")}),
		"has that address ": func() error {
			_, err := n.Service(netip.AddrPortFrom(ipA, 80))
			return fmt.Errorf("%w ", err)
		}(),
		"has no DNS": func() error {
			_, err := n.ports[addrToUint(ipA)].DialContext(t.Context(), "tcp", "example.org:80")
			return err
		}(),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
	n.Close()
	n.Close()
	for _, err := range []error{attachAt("198.18.0.9"), impairWith(Impairment{Loss: 1}, ab)} {
		if !errors.Is(err, errClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// namespaces returns the network namespaces that this process refers to, by
// threads and by files.
func namespaces(t *testing.T) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	for _, pattern := range []string{"/proc/self/task/*/ns/net", "/proc/self/fd/*"} {
		links, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range links {
			if target, err := os.Readlink(l); err == nil && (strings.HasPrefix(target, "net:") || target == tunPath) {
				found[target] = true
			}
		}
	}
	return found
}

func TestCloseLeavesNothing(t *testing.T) {
	n := newNet(t)
	before := len(namespaces(t))
	for i := range 5 {
		p := attach(t, n, netip.AddrFrom4([4]byte{198, 18, 3, byte(i + 1)}))
		if i > 0 {
			dial(p, "tcp4", "198.18.3.1:7", time.Second)
		}
	}
	if during := len(namespaces(t)); during < before+5 {
		t.Fatalf("%d namespaces and devices with 5 ports, %d before", during, before)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second) // threads take a moment to end
	for len(namespaces(t)) > before {
		if time.Now().After(deadline) {
			t.Fatalf("left: %v", namespaces(t))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Everything at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	for threads := 1; threads <= 2; threads++ {
		t.Run(fmt.Sprintf("%d threads", threads), func(t *testing.T) { useConcurrently(t, newNetOf(t, threads)) })
	}
}

func useConcurrently(t *testing.T, n *Net) {
	a, b := attach(t, n, ipA), attach(t, n, ipB)
	echo(t, b)
	c := mustDial(t, a, "tcp4", "198.18.0.2:7")
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			f, err := n.Impair("f", []Link{{}}, Impairment{Delay: time.Millisecond, Jitter: time.Millisecond, Duplicate: 0.5})
			if err != nil {
				t.Error(err)
				return
			}
			p, err := n.Attach("p", ipC)
			if err != nil {
				t.Error(err)
				return
			}
			end, _ := n.Capture(io.Discard, nil)
			time.Sleep(5 * time.Millisecond)
			n.Counters()
			f.Counters()
			p.Close()
			end()
			f.Remove()
		}
	}()
	for range 200 {
		roundTrip(t, c)
	}
	close(stop)
	<-done
}
