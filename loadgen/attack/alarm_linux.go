package attack

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm wakes a goroutine on time. Go rounds the sleep of an idle process up to
// whole milliseconds, which would make the middle hit half a millisecond late; a
// timerfd ends the same wait within some 50 µs of its due time.
type alarm struct {
	fd   int
	file *os.File // nil when the kernel gave no timer
}

func newAlarm() *alarm {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return &alarm{}
	}
	return &alarm{fd, os.NewFile(uintptr(fd), "timerfd")}
}

// sleep returns after d, by Go's own timer if there is no better one.
func (a *alarm) sleep(d time.Duration) {
	if a.file == nil || unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil) != nil {
		time.Sleep(d)
		return
	}
	var expirations [8]byte
	if _, err := a.file.Read(expirations[:]); err != nil {
		time.Sleep(d)
	}
}

func (a *alarm) close() {
	if a.file != nil {
		_ = a.file.Close()
	}
}
