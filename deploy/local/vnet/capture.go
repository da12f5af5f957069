//go:build linux

package vnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// capture writes what is delivered on some links to a pcap file.
type capture struct {
	net    *Net
	links  []linkKey
	queue  chan captured
	pool   sync.Pool
	missed atomic.Uint64
	ended  chan error // the writer's only error
	once   sync.Once
	err    error
}

type captured struct {
	at    time.Time
	frame *[]byte
}

// captureQueue is how many packets wait for a slow writer; more are missed.
const captureQueue = 4096

// Capture writes packets as they are delivered on links (none: on all of them)
// to w in pcap format with nanosecond times and link type RAW, which tcpdump
// and Wireshark read. Delays, losses and damage show; what a fault dropped
// does not. Stop ends it and returns what went wrong, including packets missed
// because w was too slow. It does not close w.
func (n *Net) Capture(w io.Writer, links []Link) (stop func() error, err error) {
	if len(links) == 0 {
		links = []Link{{}}
	}
	keys, err := linkKeys(links)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	if err := writePcapHeader(w); err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	c := &capture{net: n, links: keys, queue: make(chan captured, captureQueue), ended: make(chan error, 1)}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, fmt.Errorf("capture: %w", errClosed)
	}
	n.captures = append(n.captures, c)
	n.changedLocked()
	go c.write(w)
	return c.stop, nil
}

func (c *capture) matches(from, to uint32) bool {
	for _, l := range c.links {
		if (l.from == 0 || l.from == from) && (l.to == 0 || l.to == to) {
			return true
		}
	}
	return false
}

// add is called by loops. It never waits.
func (c *capture) add(frame []byte) {
	buf, _ := c.pool.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	*buf = append((*buf)[:0], frame...)
	select {
	case c.queue <- captured{time.Now(), buf}:
	default:
		c.missed.Add(1)
		c.pool.Put(buf)
	}
}

// write is the goroutine that stop ends.
func (c *capture) write(w io.Writer) {
	var err error
	var record []byte
	for p := range c.queue {
		if err == nil {
			record = appendPcapRecord(record[:0], p.at, *p.frame)
			_, err = w.Write(record)
		}
		c.pool.Put(p.frame)
	}
	c.ended <- err
}

func (c *capture) stop() error {
	c.once.Do(func() {
		c.net.mu.Lock()
		c.net.captures = slices.DeleteFunc(c.net.captures, func(d *capture) bool { return d == c })
		c.net.changedLocked()
		c.net.mu.Unlock()
		c.net.onLoops(func(*loop) {}) // none is inside add any more
		close(c.queue)
		err := <-c.ended
		if missed := c.missed.Load(); missed > 0 {
			err = errors.Join(err, fmt.Errorf("%d packets missed: the writer is too slow", missed))
		}
		if err != nil {
			c.err = fmt.Errorf("capture: %w", err)
		}
	})
	return c.err
}

const (
	pcapNanoseconds = 0xa1b23c4d
	pcapRaw         = 101 // LINKTYPE_RAW: IPv4 or IPv6 without anything before
)

func writePcapHeader(w io.Writer) error {
	var h [24]byte
	binary.LittleEndian.PutUint32(h[0:], pcapNanoseconds)
	binary.LittleEndian.PutUint16(h[4:], 2)
	binary.LittleEndian.PutUint16(h[6:], 4)
	binary.LittleEndian.PutUint32(h[16:], maxPacket)
	binary.LittleEndian.PutUint32(h[20:], pcapRaw)
	_, err := w.Write(h[:])
	return err
}

// appendPcapRecord appends the packet in frame, whose checksum it fills in.
func appendPcapRecord(b []byte, at time.Time, frame []byte) []byte {
	completeChecksum(frame)
	ip := frame[headerLen:]
	b = binary.LittleEndian.AppendUint32(b, uint32(at.Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(at.Nanosecond()))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(ip)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(ip)))
	return append(b, ip...)
}
