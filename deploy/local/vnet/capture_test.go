//go:build linux

package vnet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"syscall"
	"testing"
	"time"
)

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
