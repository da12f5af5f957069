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

// CPU are the arguments after Command for a stressor that computes: workers
// threads with a load of percent of a core each.
func CPU(workers, percent int) []string {
	return []string{strconv.Itoa(workers), strconv.Itoa(percent), "0", "0"}
}

// Memory are the arguments after Command for a stressor that holds bytes of
// memory, its own included. oomScoreAdj says how readily the kernel kills it when
// memory is short, 0: as readily as the pod's own processes.
func Memory(bytes int64, oomScoreAdj int) []string {
	return []string{"0", "0", strconv.FormatInt(bytes, 10), strconv.Itoa(oomScoreAdj)}
}

// Run is the stressor; it returns only for wrong arguments.
func Run(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("%s: want WORKERS PERCENT BYTES OOM_SCORE_ADJ", Command)
	}
	var n [4]int64
	for i, text := range args {
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil || v < 0 && i < 3 {
			return fmt.Errorf("%s: %q: want a number", Command, text)
		}
		n[i] = v
	}
	if n[3] != 0 {
		if err := os.WriteFile("/proc/self/oom_score_adj", []byte(args[3]), 0); err != nil {
			return fmt.Errorf("%s: %w", Command, err) // less than what one has needs CAP_SYS_RESOURCE
		}
	}
	runtime.GOMAXPROCS(int(n[0]) + 1)
	for range n[0] {
		go compute(int(n[1]))
	}
	hold(n[2] - own())
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

// own is how much memory this process has by itself, in bytes: it counts as held.
func own() int64 {
	var size, resident, shared int64 // in pages
	if data, err := os.ReadFile("/proc/self/statm"); err == nil {
		_, _ = fmt.Sscan(string(data), &size, &resident, &shared)
	}
	return (resident - shared) * int64(os.Getpagesize())
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
