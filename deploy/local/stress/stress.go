// Package stress is what a StressChaos runs beside a container: processes that
// compute, or hold memory, until they are killed.
//
// The processes inherit their cgroup, and so share the victim's limits. It
// knows nothing of pods.
package stress

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// Command is the hidden subcommand of seatrial that becomes a stressor.
const Command = "stressor"

// Args are the arguments after Command for one stressor: workers threads with
// a load of percent of a core each, and bytes of memory held.
func Args(workers, percent int, bytes int64) []string {
	return []string{strconv.Itoa(workers), strconv.Itoa(percent), strconv.FormatInt(bytes, 10)}
}

// Run is the stressor; it returns only for wrong arguments.
func Run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("%s: want WORKERS PERCENT BYTES", Command)
	}
	var n [3]int64
	for i, text := range args {
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil || v < 0 {
			return fmt.Errorf("%s: %q: want a number", Command, text)
		}
		n[i] = v
	}
	runtime.GOMAXPROCS(int(n[0]) + 1)
	for range n[0] {
		go compute(int(n[1]))
	}
	hold(n[2])
	return nil
}

// slice is the period over which a load in percent is kept.
const slice = 20 * time.Millisecond

// compute burns percent of one core.
func compute(percent int) {
	runtime.LockOSThread()
	busy := slice * time.Duration(percent) / 100
	for {
		for begin := time.Now(); time.Since(begin) < busy; {
		}
		time.Sleep(slice - busy)
	}
}

// hold maps bytes of memory, and touches each page over and over, so that none
// is a promise only.
func hold(bytes int64) {
	page := int64(os.Getpagesize())
	var memory []byte
	if bytes > 0 {
		m, err := syscall.Mmap(-1, 0, int(bytes), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: hold %d bytes: %v\n", Command, bytes, err)
			os.Exit(1)
		}
		memory = m
	}
	for {
		for i := int64(0); i < bytes; i += page {
			memory[i]++
		}
		time.Sleep(time.Second)
	}
}
