package main

import (
	"context"
	"testing"
	"time"
)

func TestSettle(t *testing.T) {
	for name, c := range map[string]struct {
		slow func(at time.Duration) bool // whether a nap at that time takes half a second
		want time.Duration
	}{
		"a machine that keeps up":        {func(time.Duration) bool { return false }, calm},
		"one that stood still once":      {func(at time.Duration) bool { return at > 5*time.Second && at < 5500*time.Millisecond }, calm + 5500*time.Millisecond},
		"one that stands still for ever": {func(time.Duration) bool { return true }, patience},
	} {
		t.Run(name, func(t *testing.T) {
			var now time.Duration
			settle(t.Context(), func() time.Duration {
				took := napTime
				if c.slow(now) {
					took = 500 * time.Millisecond
				}
				now += took
				return took
			})
			if now < c.want || now > c.want+time.Second {
				t.Errorf("settled after %v, want %v", now, c.want)
			}
		})
	}
}

func TestSettleEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	naps := 0
	settle(ctx, func() time.Duration { naps++; cancel(); return napTime })
	if naps != 1 {
		t.Errorf("%d naps after the end", naps-1)
	}
}
