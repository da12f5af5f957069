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
	"sync/atomic"
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
func newNet(t *testing.T) *Net {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := os.Stat(tunPath); err != nil {
		t.Skipf("no TUN device: %v", err)
	}
	n, err := New(Config{Seed: 1})
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

func TestDelay(t *testing.T) {
	n := newNet(t)
	a, b := attach(t, n, ipA), attach(t, n, ipB)
	echo(t, b)
	c := mustDial(t, a, "tcp4", "198.18.0.2:7")
	there := Link{ipA, ipB}
	back := Link{From: ipB} // to anybody
	f := impair(t, n, Impairment{Delay: 50 * time.Millisecond}, there, back)
	for range 5 {
		if rtt := roundTrip(t, c); rtt < 100*time.Millisecond || rtt > 250*time.Millisecond {
			t.Errorf("50 ms each way: round trip %v", rtt)
		} else {
			t.Logf("50 ms each way: round trip %v", rtt)
		}
	}
	second, err := n.Impair("second", []Link{there}, Impairment{Delay: 40 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if rtt := roundTrip(t, c); rtt < 140*time.Millisecond {
		t.Errorf("another 40 ms one way: round trip %v", rtt)
	}
	second.Remove()
	f.Remove()
	f.Remove()
	if rtt := roundTrip(t, c); rtt > 50*time.Millisecond {
		t.Errorf("after the faults were removed: round trip %v", rtt)
	}
	if got := f.Counters(); got.Delayed < 12 || got.Delayed != got.Packets || got.Dropped != 0 {
		t.Errorf("counters %+v", got)
	}
}

// A removed fault lets go of what it holds back, in order.
func TestRemoveReleases(t *testing.T) {
	n := newNet(t)
	a, b := attach(t, n, ipA), attach(t, n, ipB)
	f := impair(t, n, Impairment{Delay: time.Hour}, Link{ipA, ipB})
	time.AfterFunc(200*time.Millisecond, f.Remove)
	got := datagrams(t, a, b, 50, 0)
	if len(got) != 50 {
		t.Fatalf("%d of 50 datagrams came", len(got))
	}
	for i, v := range got {
		if i != v {
			t.Fatalf("out of order: %v", got)
		}
	}
}

func TestLossCountsAndRepeats(t *testing.T) {
	var first []int
	for run := range 2 {
		n := newNet(t)
		a, b := attach(t, n, ipA), attach(t, n, ipB)
		f := impair(t, n, Impairment{Loss: 0.3}, Link{ipA, ipB})
		got := datagrams(t, a, b, 1000, 50*time.Microsecond) // no faster than they are read
		c := f.Counters()
		if c.Packets != 1000 || int(c.Dropped) != 1000-len(got) || c.Dropped < 230 || c.Dropped > 370 {
			t.Errorf("30 %% of 1000 lost: %+v, and %d came", c, len(got))
		}
		if run == 0 {
			first = got
		} else if fmt.Sprint(first) != fmt.Sprint(got) {
			t.Error("the same seed lost other packets")
		}
		n.Close()
	}
}

func TestPartition(t *testing.T) {
	for _, tc := range []struct {
		name    string
		how     Partition
		links   []Link
		refused bool
	}{
		{"drop, both", Drop, []Link{{ipA, ipB}, {ipB, ipA}}, false},
		{"drop, there", Drop, []Link{{ipA, ipB}}, false},
		{"drop, back", Drop, []Link{{ipB, ipA}}, false},
		{"reject, both", Reject, []Link{{ipA, ipB}, {ipB, ipA}}, true},
		{"reject, there", Reject, []Link{{ipA, ipB}}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newNet(t)
			a, b, bystander := attach(t, n, ipA), attach(t, n, ipB), attach(t, n, ipC)
			echo(t, b)
			old := mustDial(t, a, "tcp4", "198.18.0.2:7")
			roundTrip(t, old)
			f := impair(t, n, Impairment{Partition: tc.how}, tc.links...)
			_, err := dial(a, "tcp4", "198.18.0.2:7", 300*time.Millisecond)
			if err == nil || errors.Is(err, syscall.ECONNREFUSED) != tc.refused {
				t.Errorf("a new connection: %v; refused should be %v", err, tc.refused)
			}
			old.SetDeadline(time.Now().Add(300 * time.Millisecond))
			// A late acknowledgement may have met the partition before.
			if _, err = old.Write([]byte{1}); err == nil {
				_, err = old.Read(make([]byte, 1))
			}
			if err == nil || errors.Is(err, syscall.ECONNRESET) != tc.refused {
				t.Errorf("an old connection: %v; reset should be %v", err, tc.refused)
			}
			roundTrip(t, mustDial(t, bystander, "tcp4", "198.18.0.2:7"))
			if c := f.Counters(); (c.Rejected > 0) != tc.refused || (c.Dropped > 0) == tc.refused {
				t.Errorf("counters %+v", c)
			}
			f.Remove()
			roundTrip(t, mustDial(t, a, "tcp4", "198.18.0.2:7"))
		})
	}
}

// A server whose answers are rejected is reset, its client is not.
func TestRejectBackOnly(t *testing.T) {
	n := newNet(t)
	a, b := attach(t, n, ipA), attach(t, n, ipB)
	ended := make(chan error, 1)
	serve(t, b, ":7", func(c net.Conn) {
		_, err := io.Copy(c, c)
		ended <- err
	})
	c := mustDial(t, a, "tcp4", "198.18.0.2:7")
	roundTrip(t, c)
	impair(t, n, Impairment{Partition: Reject}, Link{ipB, ipA})
	c.SetDeadline(time.Now().Add(300 * time.Millisecond))
	c.Write([]byte{1})
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server's side ends with %v, want a reset", err)
	}
	udp := mustDial(t, b, "udp4", "198.18.0.1:9")
	udp.Write([]byte{1})
	if _, err := udp.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a rejected datagram gives %v, want refused", err)
	}
}

func TestBandwidth(t *testing.T) {
	n := newNet(t)
	a, b := attach(t, n, ipA), attach(t, n, ipB)
	const rate = 1 << 20
	f := impair(t, n, Impairment{Rate: rate, Burst: 16 << 10, Limit: 64 << 10}, Link{ipA, ipB})
	var received atomic.Int64
	serve(t, b, ":7", func(c net.Conn) {
		buf := make([]byte, 64<<10)
		for {
			size, err := c.Read(buf)
			received.Add(int64(size))
			if err != nil {
				return
			}
		}
	})
	c := mustDial(t, a, "tcp4", "198.18.0.2:7")
	go c.Write(make([]byte, 16<<20))
	time.Sleep(500 * time.Millisecond)
	before, start := received.Load(), time.Now()
	time.Sleep(1500 * time.Millisecond)
	got := float64(received.Load()-before) / time.Since(start).Seconds()
	if got > rate*1.05 || got < rate*0.5 {
		t.Errorf("%.0f bytes/s passed, want about %d", got, rate)
	}
	if counts := f.Counters(); counts.Delayed == 0 {
		t.Errorf("counters %+v", counts)
	}
}

func TestDuplicate(t *testing.T) {
	n := newNet(t)
	a, b := attach(t, n, ipA), attach(t, n, ipB)
	f := impair(t, n, Impairment{Duplicate: 1}, Link{ipA, ipB})
	if got := datagrams(t, a, b, 100, 0); len(got) != 200 {
		t.Errorf("%d datagrams came, want each of 100 twice", len(got))
	}
	if c := f.Counters(); c.Duplicated != 100 || c.Packets != 200 {
		t.Errorf("counters %+v", c)
	}
}

func TestReorder(t *testing.T) {
	n := newNet(t)
	a, b := attach(t, n, ipA), attach(t, n, ipB)
	f := impair(t, n, Impairment{Delay: 50 * time.Millisecond, Reorder: 0.25}, Link{ipA, ipB})
	got := datagrams(t, a, b, 200, time.Millisecond)
	overtaken := 0
	for i := 1; i < len(got); i++ {
		if got[i] < got[i-1] {
			overtaken++
		}
	}
	if c := f.Counters(); len(got) != 200 || overtaken < 10 || c.Reordered < 20 || c.Reordered > 90 || c.Reordered+c.Delayed != 200 {
		t.Errorf("%d came, %d times out of order, counters %+v", len(got), overtaken, c)
	}
}

// Damage, loss, repetition and disorder at once: TCP delivers intact all the
// same, and datagrams with damage do not arrive.
func TestCorrupt(t *testing.T) {
	n := newNet(t)
	a, b := attach(t, n, ipA), attach(t, n, ipB)
	echo(t, b)
	f := impair(t, n, Impairment{
		Corrupt: 0.02, Loss: 0.01, Duplicate: 0.02, Delay: time.Millisecond, Reorder: 0.05,
	}, Link{ipA, ipB}, Link{ipB, ipA})
	c := mustDial(t, a, "tcp4", "198.18.0.2:7")
	data := randomBytes(1 << 20)
	go c.Write(data)
	got := make([]byte, len(data))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("%v, counters %+v", err, f.Counters())
	}
	if !bytes.Equal(got, data) {
		t.Error("what came back is not what was sent")
	}
	if counts := f.Counters(); counts.Corrupted == 0 || counts.Duplicated == 0 || counts.Dropped == 0 || counts.Reordered == 0 {
		t.Errorf("counters %+v", counts)
	}
	f.Remove()
	all := impair(t, n, Impairment{Corrupt: 1}, Link{ipA, ipB})
	if got := datagrams(t, a, b, 100, 0); len(got) > 5 { // a flipped TTL may pass, with a wrong checksum not
		t.Errorf("%d of 100 damaged datagrams came, counters %+v", len(got), all.Counters())
	}
}

func TestService(t *testing.T) {
	n := newNet(t)
	a, b, c := attach(t, n, ipA), attach(t, n, ipB), attach(t, n, ipC)
	say := func(name string) func(net.Conn) {
		return func(conn net.Conn) {
			for {
				if _, err := conn.Read(make([]byte, 1)); err != nil {
					return
				}
				conn.Write([]byte(name))
			}
		}
	}
	serve(t, b, ":8080", say("b"))
	serve(t, c, ":8080", say("c"))
	s, err := n.Service(netip.MustParseAddrPort("198.18.9.9:80"))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(conn net.Conn) string {
		t.Helper()
		conn.Write([]byte{1})
		answer := make([]byte, 1)
		if _, err := conn.Read(answer); err != nil {
			t.Fatal(err)
		}
		return string(answer)
	}
	refused := func(when string) {
		t.Helper()
		if _, err := dial(a, "tcp4", "198.18.9.9:80", 5*time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v, want refused", when, err)
		}
	}
	refused("without endpoints")
	endB, endC := netip.AddrPortFrom(ipB, 8080), netip.AddrPortFrom(ipC, 8080)
	if err := s.SetEndpoints([]netip.AddrPort{endB, endC}); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for range 40 {
		conn := mustDial(t, a, "tcp4", "198.18.9.9:80")
		seen[ask(conn)]++
		conn.Close()
	}
	if seen["b"] < 5 || seen["c"] < 5 {
		t.Errorf("40 connections went to %v", seen)
	}
	s.SetEndpoints([]netip.AddrPort{endB})
	old := mustDial(t, a, "tcp4", "198.18.9.9:80")
	if got := ask(old); got != "b" {
		t.Errorf("%s answers, want b", got)
	}
	s.SetEndpoints([]netip.AddrPort{endC})
	if got := ask(old); got != "b" {
		t.Errorf("an old connection moved to %s", got)
	}
	if got := ask(mustDial(t, a, "tcp4", "198.18.9.9:80")); got != "c" {
		t.Errorf("a new connection goes to %s, want c", got)
	}
	// Faults are about pods, also for what came by way of the service.
	f := impair(t, n, Impairment{Partition: Reject}, Link{ipA, ipC})
	refused("with the only endpoint cut off")
	f.Remove()
	// The address behind it stays reachable by itself.
	if got := ask(mustDial(t, a, "tcp4", "198.19.1.3:8080")); got != "c" {
		t.Errorf("%s answers directly, want c", got)
	}
	s.SetEndpoints(nil)
	refused("without endpoints again")
	s.Close()
	if _, err := n.Service(netip.MustParseAddrPort("198.18.9.9:80")); err != nil {
		t.Errorf("make a closed service again: %v", err)
	}
}

// A large answer through a service has its addresses changed in offloaded
// packets.
func TestServiceBulk(t *testing.T) {
	n := newNet(t)
	a, b := attach(t, n, ipA), attach(t, n, ipB)
	echo(t, b)
	s, err := n.Service(netip.MustParseAddrPort("198.18.9.9:80"))
	if err != nil {
		t.Fatal(err)
	}
	s.SetEndpoints([]netip.AddrPort{netip.AddrPortFrom(ipB, 7)})
	conn := mustDial(t, a, "tcp4", "198.18.9.9:80")
	data := randomBytes(4 << 20)
	go conn.Write(data)
	got := make([]byte, len(data))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("echo through the service: %v, intact %v", err, bytes.Equal(got, data))
	}
}

func TestCapture(t *testing.T) {
	n := newNet(t)
	a, b := attach(t, n, ipA), attach(t, n, ipB)
	var file bytes.Buffer
	stop, err := n.Capture(&file, []Link{{ipA, ipB}})
	if err != nil {
		t.Fatal(err)
	}
	impair(t, n, Impairment{Delay: 20 * time.Millisecond}, Link{ipA, ipB})
	if got := datagrams(t, a, b, 25, 0); len(got) != 25 {
		t.Fatalf("%d of 25 datagrams came", len(got))
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	size := file.Len()
	datagrams(t, a, b, 1, 0)
	if file.Len() != size {
		t.Error("the capture went on after it was stopped")
	}
	h := file.Next(24)
	if binary.LittleEndian.Uint32(h) != pcapNanoseconds || binary.LittleEndian.Uint32(h[20:]) != pcapRaw {
		t.Fatalf("file header %x", h)
	}
	packets := 0
	for file.Len() > 0 {
		r := file.Next(16)
		ip := file.Next(int(binary.LittleEndian.Uint32(r[8:])))
		at := time.Unix(int64(binary.LittleEndian.Uint32(r)), int64(binary.LittleEndian.Uint32(r[4:])))
		p, ok := parse(ip)
		if !ok || p.dport != 9 || p.src != addrToUint(ipA) || time.Since(at) > time.Minute || time.Since(at) < 0 {
			t.Fatalf("packet %d at %v: %+v", packets, at, p)
		}
		if frame := append(make([]byte, headerLen), ip...); !checksumsHold(frame) {
			t.Fatalf("packet %d has a wrong checksum", packets)
		}
		packets++
	}
	if packets != 25 {
		t.Errorf("%d packets in the file, want 25", packets)
	}
}

func TestCaptureToABrokenFile(t *testing.T) {
	n := newNet(t)
	a, b := attach(t, n, ipA), attach(t, n, ipB)
	full := &brokenWriter{room: 100}
	stop, err := n.Capture(full, nil)
	if err != nil {
		t.Fatal(err)
	}
	datagrams(t, a, b, 10, 0)
	if err := stop(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("stop says %v, want no space", err)
	}
}

type brokenWriter struct{ room int }

func (w *brokenWriter) Write(b []byte) (int, error) {
	if w.room -= len(b); w.room < 0 {
		return 0, syscall.ENOSPC
	}
	return len(b), nil
}

func TestForward(t *testing.T) {
	n := newNet(t)
	a, b := attach(t, n, ipA), attach(t, n, ipB)
	echo(t, b)
	addr, err := n.Forward(t.Context(), "127.0.0.1:0", a, "198.18.0.2:7")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp4", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	data := randomBytes(1 << 20)
	go func() {
		c.Write(data)
		c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("echo through the forward: %v, intact %v", err, bytes.Equal(got, data))
	}
	_, err = n.Forward(t.Context(), addr.String(), a, "198.18.0.2:7")
	if err == nil || !strings.Contains(err.Error(), addr.String()) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a port in use: %v", err)
	}
	nowhere, err := n.Forward(t.Context(), "127.0.0.1:0", a, "198.18.0.2:8")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp4", nowhere.String()); err == nil {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a forward to nowhere ends with %v, want a reset", err)
		}
	}
	n.Close()
	if _, err := net.Dial("tcp4", addr.String()); err == nil {
		t.Error("the forward outlives the network")
	}
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
	n := newNet(t)
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
