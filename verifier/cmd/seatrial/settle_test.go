package main

import (
	"context"
	"testing"
)

func TestSettle(t *testing.T) {
	for name, c := range map[string]struct {
		slow func(second int) bool
		want int // seconds
	}{
		"a machine that keeps up":        {func(int) bool { return false }, calm},
		"one that stood still once":      {func(s int) bool { return s == 5 }, 5 + calm},
		"one that stands still for ever": {func(int) bool { return true }, patience},
	} {
		t.Run(name, func(t *testing.T) {
			seconds := 0
			settle(t.Context(), func() bool { seconds++; return !c.slow(seconds) })
			if seconds != c.want {
				t.Errorf("settled after %d s, want %d s", seconds, c.want)
			}
		})
	}
}

func TestSettleEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	seconds := 0
	settle(ctx, func() bool { seconds++; cancel(); return true })
	if seconds != 1 {
		t.Errorf("%d seconds after the end", seconds-1)
	}
}

func TestProcessorsCount(t *testing.T) {
	before, err := processors()
	if err != nil {
		t.Fatal(err)
	}
	keepsUp()
	after, err := processors()
	passed := after.All - before.All
	switch {
	case err != nil, before.Stolen < 0, before.Stolen > before.All, after.Stolen < before.Stolen, passed < 0.5, passed > 5000:
	case before.Idle < 0, before.Idle > before.All, after.Idle < before.Idle, after.Idle-before.Idle > passed+0.1:
	default:
		return
	}
	t.Errorf("%+v, and a second later %+v (%v)", before, after, err)
}
