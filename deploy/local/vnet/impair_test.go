//go:build linux

package vnet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

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

// TestSpare: what comes to an address anew has none of the faults there; others keep theirs.
func TestSpare(t *testing.T) {
	n := newNet(t)
	a, b, other := attach(t, n, ipA), attach(t, n, ipB), attach(t, n, ipC)
	echo(t, b)
	f := impair(t, n, Impairment{Partition: Reject}, Link{ipA, ipB}, Link{ipB, ipA}, Link{ipC, ipB})
	n.Spare(ipA)
	roundTrip(t, mustDial(t, a, "tcp4", "198.18.0.2:7"))
	if _, err := dial(other, "tcp4", "198.18.0.2:7", 300*time.Millisecond); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the other's fault: %v", err)
	}
	n.Spare(ipC)
	roundTrip(t, mustDial(t, other, "tcp4", "198.18.0.2:7"))
	if left := n.Faults(); len(left) != 1 {
		t.Errorf("a fault is not over because nobody has it: %v", left)
	}
	f.Remove()
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
	// What waited in the queue and in the sockets when counting began is counted too.
	if got > rate*1.25 || got < rate*0.5 {
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
