//go:build linux

package vnet

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch is how many packets of one port are switched before the next port's
// turn.
const batch = 32

// The first slots of a loop are not ports.
const (
	slotWake = iota
	slotTimer
	slotPorts
)

// loop is a thread that switches the packets of some ports: it alone reads
// from them, keeps their pairs, and holds their delayed packets.
//
// Nine tenths of its time are the kernel's, in read and write, and the write
// includes all that the receiving network stack does. On two cores none of the
// following was faster, so it does none of it: looking for packets for a while
// before it waits, a real-time or a raised priority, a second thread.
type loop struct {
	net                *Net
	epoll, wake, timer int
	slots              []*Port
	events             [64]unix.EpollEvent
	in                 []byte // the frame being switched
	scratch            []byte // segments of it
	answer             [headerLen + 128]byte

	holding heap
	buffers buffers
	armed   int64 // for when the timer is set, 0 for never

	mu       sync.Mutex
	commands []func()
	stopped  bool
	done     chan struct{}
}

func newLoop(n *Net) (*loop, error) {
	l := &loop{
		net: n, epoll: -1, wake: -1, timer: -1,
		slots: make([]*Port, slotPorts),
		in:    make([]byte, maxFrame), scratch: make([]byte, maxFrame),
		done: make(chan struct{}),
	}
	if err := l.open(); err != nil {
		l.closeFiles()
		return nil, err
	}
	go l.run()
	return l, nil
}

func (l *loop) open() (err error) {
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll_create: %w", err)
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	// A timer of its own, because the timeout of epoll_wait is in milliseconds
	// and may be 50 µs late on purpose.
	if l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return fmt.Errorf("timerfd_create: %w", err)
	}
	if err = l.watch(l.wake, slotWake, unix.EPOLLIN); err != nil {
		return err
	}
	return l.watch(l.timer, slotTimer, unix.EPOLLIN|unix.EPOLLET)
}

func (l *loop) watch(fd int, slot int, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(slot)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

func (l *loop) closeFiles() {
	for _, fd := range []int{l.epoll, l.wake, l.timer} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// do runs fn on the loop's thread and waits for it. After stop it does nothing.
func (l *loop) do(fn func()) {
	ran := make(chan struct{})
	if !l.post(func() { fn(); close(ran) }) {
		return
	}
	select {
	case <-ran:
	case <-l.done:
	}
}

func (l *loop) post(fn func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return false
	}
	l.commands = append(l.commands, fn)
	one := [8]byte{1}
	unix.Write(l.wake, one[:])
	return true
}

// stop ends the loop and waits for it. Packets held back are gone.
func (l *loop) stop() {
	l.mu.Lock()
	l.stopped = true
	one := [8]byte{1}
	unix.Write(l.wake, one[:])
	l.mu.Unlock()
	<-l.done
}

func (l *loop) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(l.done)
	defer l.closeFiles()
	for {
		n := l.wait()
		for _, ev := range l.events[:n] {
			switch ev.Fd {
			case slotTimer:
				l.armed = 0
			case slotWake:
				if l.runCommands() {
					return
				}
			default:
				if p := l.slots[ev.Fd]; p != nil {
					l.drain(p)
				}
			}
		}
		l.releaseDue()
	}
}

// wait returns the number of events. What takes long enough to be worth
// telling the Go scheduler of is only the wait itself; the reads and writes
// elsewhere are not, and are made without.
func (l *loop) wait() int {
	for {
		n, err := unix.EpollWait(l.epoll, l.events[:], -1)
		if err == nil {
			return n
		}
	}
}

func (l *loop) runCommands() (stopped bool) {
	var b [8]byte
	unix.Read(l.wake, b[:])
	l.mu.Lock()
	commands, stopped := l.commands, l.stopped
	l.commands = nil
	l.mu.Unlock()
	for _, fn := range commands {
		fn()
	}
	return stopped
}

// drain switches what p has to say, up to a batch: what is left makes the next
// wait return at once.
func (l *loop) drain(p *Port) {
	for range batch {
		n, errno := rawRead(p.tun, l.in)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return
		}
		if n > headerLen {
			l.switchFrame(p, l.in[:n])
		}
	}
}

func rawRead(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

func rawWrite(fd int, b []byte) unix.Errno {
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if errno != unix.EINTR {
			return errno
		}
	}
}

// switchFrame decides where a frame read from src goes, and sends it there.
func (l *loop) switchFrame(src *Port, frame []byte) {
	pk, ok := parse(frame[headerLen:])
	if !ok || pk.src != src.addr || (pk.dst^src.addr)&prefixMask != 0 {
		return // not IPv4, a forged source, multicast
	}
	pr := l.pairOf(src, pk.dst)
	switch {
	case pr.vip:
		l.toService(pr, frame, &pk)
	case pk.ports && src.endpoint.Load():
		l.fromEndpoint(pr, frame, &pk)
	default:
		if pk.flags&tcpSYN != 0 && pr.to != nil && pr.to.endpoint.Load() {
			l.net.nat.direct(l.net.now(), &pk)
		}
		l.send(pr, frame, &pk)
	}
}

// pairOf returns the pair with a plan that is up to date.
func (l *loop) pairOf(src *Port, dst uint32) *pair {
	pr := src.lastPair
	if pr == nil || pr.dst != dst {
		if pr = src.pairs[dst]; pr == nil {
			pr = l.net.newPair(src, dst)
			src.pairs[dst] = pr
		}
		src.lastPair = pr
	}
	l.refresh(pr)
	return pr
}

func (l *loop) refresh(pr *pair) {
	if pr.gen != l.net.gen.Load() {
		l.net.plan(pr)
	}
}

// toService passes a packet for a virtual address on to an endpoint.
func (l *loop) toService(vip *pair, frame []byte, pk *packet) {
	end, verdict := l.net.nat.in(l.net.now(), pk)
	if verdict != translated {
		packets, bytes := wire(frame)
		vip.counts.packets.Add(packets)
		vip.counts.bytes.Add(bytes)
		if verdict == refused {
			vip.counts.rejected.Add(packets)
			l.refuse(vip.src, frame, pk)
		} else {
			vip.counts.dropped.Add(packets)
		}
		return
	}
	pr := l.pairOf(vip.src, end.addr)
	if pr.cut == nil { // an answer must come from the address that was asked
		rewrite(frame, pk, false, end.addr, end.port)
	}
	l.send(pr, frame, pk)
}

// fromEndpoint gives an answer to a translated flow the address that was asked.
func (l *loop) fromEndpoint(pr *pair, frame []byte, pk *packet) {
	if vip, ok := l.net.nat.out(l.net.now(), pk); ok && pr.cut == nil {
		rewrite(frame, pk, true, vip.addr, vip.port)
	}
	l.send(pr, frame, pk)
}

// send puts a frame on the link of pr.
func (l *loop) send(pr *pair, frame []byte, pk *packet) {
	packets, bytes := wire(frame)
	pr.counts.packets.Add(packets)
	pr.counts.bytes.Add(bytes)
	switch {
	case pr.cut != nil:
		l.cutOff(pr, frame, pk, packets, bytes)
	case len(pr.stages) == 0:
		l.deliver(pr, frame)
	default:
		l.pass(pr, 0, frame)
	}
}

func (l *loop) cutOff(pr *pair, frame []byte, pk *packet, packets, bytes uint64) {
	c := &pr.cut.counts
	c.packets.Add(packets)
	c.bytes.Add(bytes)
	if pr.cut.fault.imp.Partition == Drop {
		c.dropped.Add(packets)
		pr.counts.dropped.Add(packets)
		return
	}
	c.rejected.Add(packets)
	pr.counts.rejected.Add(packets)
	l.refuse(pr.src, frame, pk)
}

func (l *loop) refuse(src *Port, frame []byte, pk *packet) {
	if a := refusal(l.answer[:], frame[headerLen:], pk); a != nil {
		rawWrite(src.tun, a)
	}
}

// deliver hands a frame to the receiving namespace.
func (l *loop) deliver(pr *pair, frame []byte) {
	for _, t := range pr.taps {
		t.add(frame)
	}
	if pr.to == nil || rawWrite(pr.to.tun, frame) != 0 {
		packets, _ := wire(frame)
		pr.counts.dropped.Add(packets)
	}
}
