//go:build linux

// Command memstress stands in for Chaos Mesh's memStress: it takes memory and
// holds it until it is ended.
//
//	memStress [--workers N] [--size SIZE] [--time DURATION]
//
// SIZE is for each worker: bytes with a unit (64MB, 1GiB, ...), or a percentage of
// the machine's available memory. Memory is taken over DURATION, at once without
// one. Other options of memStress are refused.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "memStress: "+err.Error())
		os.Exit(2)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("memStress", flag.ContinueOnError)
	workers := flags.Int("workers", 1, "how many take `N` times the size")
	text := flags.String("size", "100%", "memory for each worker")
	over := flags.Duration("time", 0, "time over which memory is taken")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *workers < 1 {
		return fmt.Errorf("workers %d and the arguments %q: want a positive number and none", *workers, flags.Args())
	}
	available, err := available()
	if err != nil {
		return err
	}
	size, err := parseSize(*text, available)
	if err != nil {
		return err
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	taken := make(chan error, 1)
	go func() { taken <- take(size*uint64(*workers), *over) }()
	select {
	case err := <-taken:
		if err != nil {
			return err
		}
		<-end
	case <-end:
	}
	return nil
}

// steps in which memory is taken.
const steps = 64

// take maps size bytes and writes to each page, over a time.
func take(size uint64, over time.Duration) error {
	memory, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("take %d bytes: %w", size, err)
	}
	page := os.Getpagesize()
	for i := range steps {
		for at := i * len(memory) / steps / page * page; at < (i+1)*len(memory)/steps; at += page {
			memory[at] = 1
		}
		time.Sleep(over / steps)
	}
	return nil
}

var units = []struct {
	name  string
	bytes float64
}{ // the longest first
	{"KIB", 1 << 10}, {"MIB", 1 << 20}, {"GIB", 1 << 30}, {"TIB", 1 << 40},
	{"KB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"TB", 1 << 40}, {"B", 1},
	{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40}, {"", 1},
}

// parseSize reads a size in bytes, or a percentage of what is available.
func parseSize(text string, available uint64) (uint64, error) {
	number, factor := strings.ToUpper(strings.TrimSpace(text)), 1.0
	if percent, is := strings.CutSuffix(number, "%"); is {
		number, factor = percent, float64(available)/100
	} else {
		for _, u := range units {
			if short, is := strings.CutSuffix(number, u.name); is {
				number, factor = short, u.bytes
				break
			}
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || n <= 0 || n*factor < 1 {
		return 0, fmt.Errorf("size %q: want a positive number with a unit (64MB, 1GiB) or a percentage", text)
	}
	return uint64(n * factor), nil
}

// available is the memory in bytes that the machine could still give.
func available() (uint64, error) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "MemAvailable:" {
			kib, err := strconv.ParseUint(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("/proc/meminfo does not tell what is available")
}
