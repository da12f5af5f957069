//go:build linux

// Command cluster brings up and takes down a real Kubernetes with real Chaos
// Mesh on one machine where no image registry can be reached.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"seatrial/deploy/cluster/node"
	"seatrial/deploy/local/confine"
)

// exitBroken is for wrong usage and for a cluster that could not be brought up.
const exitBroken = 2

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "cluster",
		Short:         "a real Kubernetes with real Chaos Mesh on one machine, without an image registry",
		SilenceErrors: true, SilenceUsage: true,
	}
	root.AddCommand(newUpCommand(), newInstallCommand(), newDownCommand(), newStatusCommand(), newServeCommand(),
		&cobra.Command{Use: node.InsideCommand, Hidden: true, DisableFlagParsing: true,
			RunE: func(_ *cobra.Command, args []string) error { return node.Inside(args) }},
		&cobra.Command{Use: confine.FinishCommand, Hidden: true, DisableFlagParsing: true,
			RunE: func(_ *cobra.Command, args []string) error { return confine.Finish(args) }})
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := root.ExecuteContext(ctx)
	var ended *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ended):
		return ended.code
	}
	fmt.Fprintln(stderr, "cluster: "+err.Error())
	return exitBroken
}

// exitError ends the command with a status; what there is to say was said.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

// places are the folders that every command needs.
type places struct{ repository, deps string }

func (p *places) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.repository, "repository", ".", "folder `DIR` of the checkout")
	cmd.Flags().StringVar(&p.deps, "deps", "", "folder `DIR` that make deps made (default: .deps in the checkout)")
}

// resolve makes the folders absolute and names the first thing that is missing.
func (p *places) resolve() (err error) {
	if p.repository, err = filepath.Abs(p.repository); err != nil {
		return err
	}
	if p.deps == "" {
		p.deps = filepath.Join(p.repository, ".deps")
	}
	if p.deps, err = filepath.Abs(p.deps); err != nil {
		return err
	}
	for _, path := range []string{p.root(), p.bin(), p.images(), p.repo("deploy", "cluster", "manifests")} {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%w (`make cluster-deps` makes what the cluster is made from)", err)
		}
	}
	return nil
}

func (p *places) root() string       { return filepath.Join(p.deps, "cluster", "root") }
func (p *places) serverLog() string  { return filepath.Join(p.deps, "cluster", "server.log") }
func (p *places) bin() string        { return filepath.Join(p.deps, "cluster", "bin") }
func (p *places) images() string     { return filepath.Join(p.deps, "cluster", "images") }
func (p *places) kubeconfig() string { return filepath.Join(p.deps, "cluster", "kubeconfig") }

func (p *places) repo(elements ...string) string {
	return filepath.Join(append([]string{p.repository}, elements...)...)
}
