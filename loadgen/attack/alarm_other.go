//go:build !linux

package attack

import "time"

// alarm wakes a goroutine on time, as well as Go's timers do.
type alarm struct{}

func newAlarm() *alarm { return &alarm{} }

func (*alarm) sleep(d time.Duration) { time.Sleep(d) }

func (*alarm) close() {}
