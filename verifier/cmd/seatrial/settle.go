package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/procfs"

	"seatrial/verifier/trial"
)

// A machine keeps up in a second in which no nap of napTime takes longer than soon, and its host gives
// less than aLittle of its processors to others.
const (
	napTime  = 10 * time.Millisecond
	soon     = 150 * time.Millisecond
	aLittle  = 0.1
	calm     = 10  // seconds on end
	patience = 300 // seconds
)

// settle waits until this machine keeps up, or patience is over: what takes its processors
// away for seconds often does so for minutes. second takes a second, and says whether it kept up.
func settle(ctx context.Context, second func() bool) {
	for waited, kept := 0, 0; kept < calm && waited < patience && ctx.Err() == nil; waited++ {
		if kept++; !second() {
			kept = 0
		}
	}
}

// keepsUp watches this machine for a second.
func keepsUp() bool {
	worst := time.Duration(0)
	before, err := processors()
	for began := time.Now(); time.Since(began) < time.Second; {
		nap := time.Now()
		time.Sleep(napTime)
		worst = max(worst, time.Since(nap))
	}
	after, err2 := processors()
	_, stolen := after.Since(before)
	starved := err == nil && err2 == nil && stolen > aLittle
	return worst <= soon && !starved
}

// processors is what the kernel has counted since it started. Who waits for the disk has nothing to do.
// Source: proc_stat(5).
func processors() (trial.ProcessorTime, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return trial.ProcessorTime{}, fmt.Errorf("open /proc: %w", err)
	}
	stat, err := fs.Stat()
	if err != nil {
		return trial.ProcessorTime{}, fmt.Errorf("read /proc/stat: %w", err)
	}
	c := stat.CPUTotal
	return trial.ProcessorTime{
		Idle: c.Idle + c.Iowait, Stolen: c.Steal,
		All: c.User + c.Nice + c.System + c.Idle + c.Iowait + c.IRQ + c.SoftIRQ + c.Steal,
	}, nil
}
