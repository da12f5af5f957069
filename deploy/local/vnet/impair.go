//go:build linux

package vnet

import (
	"slices"

	"golang.org/x/sys/unix"
)

// pass leads a frame through the faults of its pair that are younger than the
// fault with the id after, and delivers it when there is none.
func (l *loop) pass(pr *pair, after uint64, frame []byte) {
	for _, s := range pr.stages {
		if s.fault.id <= after {
			continue
		}
		if s.split && isGSO(frame) {
			segment(frame, l.scratch, func(f []byte) { l.impair(pr, s, f, true) })
		} else {
			l.impair(pr, s, frame, true)
		}
		return
	}
	l.deliver(pr, frame)
}

// impair does to one frame what the fault's dice say. A copy that the fault
// itself made is not duplicated again, but meets all else, as with netem.
func (l *loop) impair(pr *pair, s *stage, frame []byte, mayDuplicate bool) {
	packets, bytes := wire(frame)
	s.counts.packets.Add(packets)
	s.counts.bytes.Add(bytes)
	d := s.dice.next()
	d.duplicate = d.duplicate && mayDuplicate
	if d.duplicate {
		s.counts.duplicated.Add(packets)
		pr.counts.duplicated.Add(packets)
		twin := l.buffers.copy(frame)
		defer func() {
			l.impair(pr, s, twin, false)
			l.buffers.free(twin)
		}()
	}
	if d.lose {
		l.dropAt(pr, s, packets)
		return
	}
	if d.corrupt {
		s.counts.corrupted.Add(packets)
		pr.counts.corrupted.Add(packets)
		corrupt(frame, d.bit)
	}
	l.schedule(pr, s, frame, d)
}

// corrupt turns over one bit, after filling in the checksum: else the receiver,
// told that there is none, would not notice.
func corrupt(frame []byte, bit uint64) {
	completeChecksum(frame)
	ip := frame[headerLen:]
	bit %= uint64(len(ip)) * 8
	ip[bit/8] ^= 1 << (bit % 8)
}

// schedule sends the frame on, at once or when its time has come.
func (l *loop) schedule(pr *pair, s *stage, frame []byte, d decision) {
	packets, _ := wire(frame)
	if d.ahead {
		s.counts.reordered.Add(packets)
		pr.counts.reordered.Add(packets)
	}
	if s.bucket == nil && d.delay == 0 {
		l.pass(pr, s.fault.id, frame)
		return
	}
	now := l.net.now()
	when := now
	if s.bucket != nil {
		departure, ok := s.bucket.take(now, len(frame)-headerLen)
		if !ok {
			l.dropAt(pr, s, packets)
			return
		}
		when = departure
	}
	if d.delay > 0 {
		if s.held >= queueLimit {
			l.dropAt(pr, s, packets)
			return
		}
		when += int64(d.delay)
	}
	if when <= now {
		l.pass(pr, s.fault.id, frame)
		return
	}
	s.counts.delayed.Add(packets)
	pr.counts.delayed.Add(packets)
	s.held++
	l.holding.push(held{when: when, pair: pr, stage: s, frame: l.buffers.copy(frame)})
	l.arm()
}

func (l *loop) dropAt(pr *pair, s *stage, packets uint64) {
	s.counts.dropped.Add(packets)
	pr.counts.dropped.Add(packets)
}

// arm sets the timer for the first packet held back.
func (l *loop) arm() {
	first, ok := l.holding.first()
	if !ok || l.armed != 0 && l.armed <= first {
		return
	}
	l.armed = first
	in := max(1, first-l.net.now()) // 0 would disarm it
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(in)}
	unix.TimerfdSettime(l.timer, 0, &spec, nil)
}

// releaseDue sends on what has waited long enough.
func (l *loop) releaseDue() {
	if _, ok := l.holding.first(); !ok {
		return
	}
	now := l.net.now()
	for {
		first, ok := l.holding.first()
		if !ok {
			l.buffers.trim()
			return
		}
		if first > now {
			if now = l.net.now(); first > now { // time has passed meanwhile
				l.arm()
				return
			}
		}
		l.release(l.holding.pop())
	}
}

func (l *loop) release(h held) {
	h.stage.held--
	l.refresh(h.pair)
	l.pass(h.pair, h.stage.fault.id, h.frame)
	l.buffers.free(h.frame)
}

// releaseFault sends on what f holds back, in order.
func (l *loop) releaseFault(f *Fault) {
	out := l.holding.remove(func(h *held) bool { return h.stage.fault == f })
	slices.SortFunc(out, compareHeld)
	for _, h := range out {
		l.release(h)
	}
}

// add makes p one of the loop's ports.
func (l *loop) add(p *Port) error {
	slot := slices.Index(l.slots[slotPorts:], nil) + slotPorts
	if slot < slotPorts {
		slot = len(l.slots)
		l.slots = append(l.slots, nil)
	}
	if err := l.watch(p.tun, slot, unix.EPOLLIN); err != nil {
		return err
	}
	l.slots[slot] = p
	return nil
}

// forget drops p and what it sent that is still held back.
func (l *loop) forget(p *Port) {
	for slot, q := range l.slots {
		if q == p {
			unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, p.tun, nil)
			l.slots[slot] = nil
		}
	}
	for _, h := range l.holding.remove(func(h *held) bool { return h.pair.src == p }) {
		h.stage.held--
		l.buffers.free(h.frame)
	}
}
