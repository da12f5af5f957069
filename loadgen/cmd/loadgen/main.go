// Command loadgen sends open-loop load and records every request: once, as
// `loadgen attack`, or as a process that is told what to send, as `loadgen serve`.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"seatrial/loadgen/load"
)

// version is stamped by the build.
var version = "dev"

func main() {
	// Garbage is most of what a load generator makes, and collecting it often is
	// what makes it send late. Whoever sets GOGC knows better.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "loadgen:", err)
	if errors.Is(err, load.ErrNotAchieved) {
		os.Exit(1)
	}
	os.Exit(2)
}

// run runs the command line. Interrupts are the commands' own business.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	root := &cobra.Command{
		Use:           "loadgen",
		Short:         "send open-loop load and record every request",
		Version:       version + " " + runtime.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	attack := load.NewCommand()
	attack.Use = "attack"
	root.AddCommand(attack, newServeCommand())
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return root.ExecuteContext(ctx)
}
