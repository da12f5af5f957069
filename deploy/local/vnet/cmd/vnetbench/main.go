//go:build linux

// Command vnetbench prints what the virtual network costs compared with
// loopback.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"seatrial/deploy/local/vnet/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vnetbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	var cfg bench.Config
	flags := flag.NewFlagSet("vnetbench", flag.ContinueOnError)
	flags.StringVar(&cfg.Server, "server", "valkey-server", "path of valkey-server")
	flags.StringVar(&cfg.Benchmark, "benchmark", "valkey-benchmark", "path of valkey-benchmark")
	flags.IntVar(&cfg.Requests, "requests", 0, "requests of each kind a round (0: 100,000)")
	flags.IntVar(&cfg.Rounds, "rounds", 0, "rounds (0: 5)")
	flags.IntVar(&cfg.Threads, "threads", 0, "threads of the switch (0: 1)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	res, err := bench.Run(ctx, cfg)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(stdout, res)
	return err
}
