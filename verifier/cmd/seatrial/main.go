// Command seatrial proves how a system behaves under faults: it deploys a
// testbed, holds trials and judges their evidence.
//
// This is the only place that wires testbeds, adapters, trials and reports.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"seatrial/deploy/local/confine"
	"seatrial/deploy/local/stress"
	"seatrial/loadgen/load"
	"seatrial/verifier/verdict"
)

// version is stamped by the build.
var version = "dev"

// The exit statuses, as the design fixes them.
const (
	exitPass         = 0
	exitFail         = 1
	exitBroken       = 2 // wrong usage, or a testbed that could not be used
	exitInconclusive = 3
)

// exitError carries an exit status whose reason has been printed already.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// run runs the command and returns its exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var exit *exitError
	switch {
	case err == nil:
		return exitPass
	case errors.As(err, &exit):
		return exit.code
	}
	fmt.Fprintf(stderr, "seatrial: %v\n", err)
	if errors.Is(err, load.ErrNotAchieved) {
		return exitFail // the load was sent, and is not what was asked for
	}
	return exitBroken
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "seatrial",
		Short:         "prove how a system behaves under faults: deploy, load, break, judge",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Long: `seatrial deploys a small real system, drives it with open-loop load, injects
Chaos Mesh experiments and judges from evidence: did the SLOs hold, was every
accepted task done exactly once, did the right alert ring in time.

Begin with "seatrial list", then "seatrial run --tags @smoke". The program is for
Linux. The local testbed needs root, and what "make deps build" leaves; list, replay,
report, load and runs with --target kubernetes do not.

Exit status: 0 all pass, 1 some fail, 2 wrong usage or a broken testbed,
3 some inconclusive and none failed.`,
	}
	root.AddCommand(newRunCommand(), newListCommand(), newReplayCommand(), newReportCommand(), newParityCommand(), newRunbookCommand(), newCoverageCommand(), newGamedayCommand(),
		newUpCommand(), newServeCommand(), newStatusCommand(), newLogsCommand(), newExecCommand(), newReplaceCommand(),
		newTrafficCommand(), newCaptureCommand(), newDownCommand(),
		newLoadCommand(), newBenchCommand(), newShelfCommand(), newPruneCommand(), newAwaitCommand(), newJanitorCommand(),
		newStressorCommand(), newFinishCommand())
	root.CompletionOptions.HiddenDefaultCmd = true
	return root
}

// newLoadCommand is loadgen's, whose examples leave the program's name open.
func newLoadCommand() *cobra.Command {
	cmd := load.NewCommand()
	cmd.Example = strings.ReplaceAll(cmd.Example, "...", "seatrial load")
	return cmd
}

// newStressorCommand is what a StressChaos runs inside a pod.
func newStressorCommand() *cobra.Command {
	return &cobra.Command{
		Use: stress.Command, Hidden: true, Args: cobra.ArbitraryArgs, // it looks at them itself
		RunE: func(_ *cobra.Command, args []string) error { return stress.Run(args) },
	}
}

// newFinishCommand is what a testbed becomes that must end at once.
func newFinishCommand() *cobra.Command {
	return &cobra.Command{
		Use: confine.FinishCommand, Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return confine.Finish(args) },
	}
}

// exitOf is the exit status for a verdict.
func exitOf(s verdict.Status) error {
	switch s {
	case verdict.Pass:
		return nil
	case verdict.Fail:
		return &exitError{exitFail}
	}
	return &exitError{exitInconclusive}
}
