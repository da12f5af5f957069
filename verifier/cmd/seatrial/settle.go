package main

import (
	"context"
	"time"
)

// A machine keeps up while naps of napTime take no longer than soon, for calm on end.
const (
	napTime  = 10 * time.Millisecond
	soon     = 150 * time.Millisecond
	calm     = 10 * time.Second
	patience = 5 * time.Minute
)

// settle waits until this machine keeps up, or patience is over: what takes its processors
// away for seconds often does so for minutes. nap sleeps for napTime and returns how long that took.
func settle(ctx context.Context, nap func() time.Duration) {
	for waited, kept := time.Duration(0), time.Duration(0); kept < calm && waited < patience && ctx.Err() == nil; {
		took := nap()
		waited += took
		if kept += took; took > soon {
			kept = 0
		}
	}
}

func nap() time.Duration {
	began := time.Now()
	time.Sleep(napTime)
	return time.Since(began)
}
