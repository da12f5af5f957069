//go:build linux

package vnet

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"
	"time"
)

// stand is a loop without a thread between ports that are files: it needs no
// root, and the test is its thread.
type stand struct {
	*loop
	ports map[uint32]*Port
	files map[uint32]*os.File
}

func newStand(t testing.TB, seed int64) *stand {
	n := &Net{
		seed: seed, epoch: time.Now(), nat: newNAT(seed),
		ports: map[uint32]*Port{}, vips: map[uint32]int{}, endpoints: map[uint32]bool{},
	}
	s := &stand{
		loop:  &loop{net: n, timer: -1, slots: make([]*Port, slotPorts), scratch: make([]byte, maxFrame)},
		ports: n.ports, files: map[uint32]*os.File{},
	}
	for _, addr := range []uint32{alice, bob, carol} {
		f, err := os.CreateTemp(t.TempDir(), "device")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		s.files[addr] = f
		s.ports[addr] = &Port{net: n, addr: addr, loop: s.loop, tun: int(f.Fd()), pairs: map[uint32]*pair{}}
	}
	return s
}

// fault puts an impairment in force on all that a port sends.
func (s *stand) fault(t testing.TB, imp Impairment, from uint32) *Fault {
	f, err := s.net.Impair("f", []Link{{From: uintToAddr(from)}}, imp)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// received returns all that was written to a port's device.
func (s *stand) received(t testing.TB, addr uint32) []byte {
	b, err := os.ReadFile(s.files[addr].Name())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ripen makes all that is held back due.
func (s *stand) ripen() {
	for i := range s.holding.items {
		s.holding.items[i].when -= int64(24 * time.Hour)
	}
	s.releaseDue()
}

func numbered(i int) []byte {
	return udpFrame(alice, bob, 1, 2, binary.BigEndian.AppendUint32(nil, uint32(i)))
}

func TestFastPathDoesNotAllocate(t *testing.T) {
	for name, imp := range map[string]Impairment{
		"no fault":  {},
		"delay":     {Delay: time.Hour},
		"all":       {Delay: time.Hour, Jitter: time.Second, Duplicate: 0.5, Corrupt: 0.5, Reorder: 0.1, Rate: 1 << 40, Burst: 1 << 30, Limit: 1 << 30},
		"partition": {Partition: Reject},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, 1)
			if imp != (Impairment{}) {
				s.fault(t, imp, alice)
			}
			original := tcpFrame(alice, bob, 1, 2, tcpACK, make([]byte, 500))
			frame := bytes.Clone(original)
			one := func() {
				copy(frame, original)
				s.switchFrame(s.ports[alice], frame)
				s.ripen()
			}
			for range 100 {
				one()
			}
			if allocs := testing.AllocsPerRun(1000, one); allocs > 0 {
				t.Errorf("%v allocations a packet", allocs)
			}
		})
	}
}

func TestQueueOfDelayedPacketsIsLimited(t *testing.T) {
	s := newStand(t, 1)
	f := s.fault(t, Impairment{Delay: time.Hour}, alice)
	for i := range queueLimit + 5 {
		s.switchFrame(s.ports[alice], numbered(i))
	}
	if c := f.Counters(); c.Delayed != queueLimit || c.Dropped != 5 {
		t.Errorf("counters %+v, want %d delayed and 5 dropped", c, queueLimit)
	}
	s.ripen()
	s.switchFrame(s.ports[alice], numbered(0))
	if c := f.Counters(); c.Delayed != queueLimit+1 {
		t.Errorf("after the queue was empty again: %+v", c)
	}
}

// Packets that two faults delay meet the second after the first, and come in
// the order in which they were sent.
func TestFaultsAreStagesOneAfterAnother(t *testing.T) {
	s := newStand(t, 1)
	first := s.fault(t, Impairment{Delay: time.Hour}, alice)
	second := s.fault(t, Impairment{Delay: 2 * time.Hour}, alice)
	var want []byte
	for i := range 50 {
		s.switchFrame(s.ports[alice], numbered(i))
		want = append(want, numbered(i)...)
	}
	if a, b := first.Counters(), second.Counters(); a.Packets != 50 || b.Packets != 0 {
		t.Errorf("at first: %+v, %+v", a, b)
	}
	s.ripen()
	if b := second.Counters(); b.Delayed != 50 || len(s.received(t, bob)) != 0 {
		t.Errorf("half way: %+v, %d bytes have come", b, len(s.received(t, bob)))
	}
	s.ripen()
	if got := s.received(t, bob); !bytes.Equal(got, want) {
		t.Errorf("%d bytes came, want %d in order", len(got), len(want))
	}
}

// Removing the first of two faults hands its packets to the second.
func TestRemovedFaultHandsOver(t *testing.T) {
	s := newStand(t, 1)
	first := s.fault(t, Impairment{Delay: time.Hour}, alice)
	second := s.fault(t, Impairment{Loss: 1}, alice)
	for i := range 10 {
		s.switchFrame(s.ports[alice], numbered(i))
	}
	first.Remove()
	s.releaseFault(first)
	if c := second.Counters(); c.Dropped != 10 || len(s.holding.items) != 0 {
		t.Errorf("the second fault met %+v, %d are still held", c, len(s.holding.items))
	}
}

// One bucket serves all destinations of a source, and no other source.
func TestBucketIsPerSource(t *testing.T) {
	s := newStand(t, 1)
	f, err := s.net.Impair("f", []Link{{}}, Impairment{Rate: 1, Burst: 200, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	size := len(numbered(0)) - headerLen // 32 bytes: six of them are a burst
	send := func(from, to uint32, count int) {
		for range count {
			s.switchFrame(s.ports[from], udpFrame(from, to, 1, 2, make([]byte, 4)))
		}
	}
	send(alice, bob, 4)
	send(alice, carol, 4)
	send(bob, carol, 5)
	if c := f.Counters(); c.Packets != 13 || c.Dropped != 2 {
		t.Errorf("packets of %d bytes: %+v, want 13 of which 2 dropped", size, c)
	}
}

func TestForgedSourcesAndStrangersAreDropped(t *testing.T) {
	s := newStand(t, 1)
	s.switchFrame(s.ports[alice], udpFrame(carol, bob, 1, 2, nil))        // not its own address
	s.switchFrame(s.ports[alice], udpFrame(alice, 0xe0000001, 1, 2, nil)) // multicast
	s.switchFrame(s.ports[alice], []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x60})
	if got := s.received(t, bob); len(got) != 0 || len(s.net.pairs) != 0 {
		t.Errorf("%d bytes came by way of %d pairs", len(got), len(s.net.pairs))
	}
	s.switchFrame(s.ports[alice], udpFrame(alice, carol+7, 1, 2, nil)) // nobody there
	if c := s.net.Counters(); len(c) != 1 || c[0].Dropped != 1 || c[0].ToName != "" {
		t.Errorf("counters %+v", c)
	}
}

func TestHeap(t *testing.T) {
	var h heap
	d := newDice(1, "heap", 0, &Impairment{Delay: time.Second, Jitter: time.Second})
	for i := range 1000 {
		h.push(held{when: int64(d.next().delay / (10 * time.Millisecond)), frame: []byte{byte(i)}})
	}
	gone := h.remove(func(x *held) bool { return x.frame[0]%3 == 0 })
	var before held
	left := 0
	for {
		if _, ok := h.first(); !ok {
			break
		}
		x := h.pop()
		if compareHeld(before, x) >= 0 || x.frame[0]%3 == 0 {
			t.Fatalf("%d/%d after %d/%d", x.when, x.seq, before.when, before.seq)
		}
		before = x
		left++
	}
	if left+len(gone) != 1000 || len(gone) < 300 {
		t.Errorf("%d removed and %d popped of 1000", len(gone), left)
	}
}

func BenchmarkSwitch(b *testing.B) {
	for name, imp := range map[string]Impairment{"no fault": {}, "loss": {Loss: 0.1}} {
		b.Run(name, func(b *testing.B) {
			s := newStand(b, 1)
			null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
			if err != nil {
				b.Fatal(err)
			}
			defer null.Close()
			s.ports[bob].tun = int(null.Fd())
			if imp != (Impairment{}) {
				s.fault(b, imp, alice)
			}
			frame := tcpFrame(alice, bob, 1, 2, tcpACK, make([]byte, 100))
			for b.Loop() {
				s.switchFrame(s.ports[alice], frame)
			}
		})
	}
}
