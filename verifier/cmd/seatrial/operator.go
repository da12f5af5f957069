//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// shell carries out runbooks' commands on this machine, as a reader would who pastes them.
type shell struct {
	dir   string   // where, "" where this process is
	env   []string // KEY=value, in addition to this process's
	needs []string // programs that must be there
	not   string   // why it cannot be done here, "" if it can
}

// Able names what is missing.
func (s *shell) Able(context.Context) error {
	if s.not != "" {
		return errors.New(s.not)
	}
	for _, name := range s.needs {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("it needs %s: %w", name, err)
		}
	}
	return nil
}

// Do lets the shell run a block of commands, and ends it with the first that fails.
func (s *shell) Do(ctx context.Context, command string) (string, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-ec", command)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), s.env...)
	// A group of its own, so that no child outlives its time.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("its time is over: %w", ctx.Err())
	}
	return output.String(), err
}

// localShell carries commands out on the local testbed called name. Runbooks call this
// program by the path that it has below the project's folder.
func localShell(name string) (*shell, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	s := &shell{dir: filepath.Dir(filepath.Dir(self)), env: []string{nameVariable + "=" + name}}
	if path := filepath.Join(s.dir, "bin", "seatrial"); path != self {
		s.not = fmt.Sprintf("runbooks call bin/seatrial, and this program is %s", self)
	}
	return s, nil
}

// kubectlShell carries commands out on the cluster that the flags name. No variable names a
// context, so where they do, a kubectl of its own stands in front of the real one; the
// returned function removes it, and that of a killed run goes with the next.
func (f *kubeFlags) kubectlShell() (*shell, func(), error) {
	s := &shell{needs: []string{"kubectl"}}
	if f.namespace != "seatrial" {
		s.not = fmt.Sprintf("runbooks' commands are for the namespace seatrial, not %s", f.namespace)
	}
	kubectl, err := exec.LookPath("kubectl")
	if err != nil {
		return s, func() {}, nil // Able says so, if it comes to that
	}
	if f.context == "" {
		if f.kubeconfig != "" {
			s.env = []string{"KUBECONFIG=" + f.kubeconfig}
		}
		return s, func() {}, nil
	}
	sweepKubectls()
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", kubectlFolder, os.Getpid()))
	if err != nil {
		return nil, nil, fmt.Errorf("make a folder for kubectl: %w", err)
	}
	script := "#!/bin/sh\nexec " + quoted(kubectl)
	for flag, value := range map[string]string{"--kubeconfig": f.kubeconfig, "--context": f.context} {
		if value != "" {
			script += " " + flag + " " + quoted(value)
		}
	}
	remove := func() { _ = os.RemoveAll(dir) }
	if err := os.WriteFile(filepath.Join(dir, "kubectl"), []byte(script+" \"$@\"\n"), 0o700); err != nil {
		remove()
		return nil, nil, fmt.Errorf("write kubectl: %w", err)
	}
	// It starts where this program did: a kubeconfig may be named relative to that.
	s.env = []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
	return s, remove, nil
}

const kubectlFolder = "seatrial-kubectl-" // and the process it belongs to

// sweepKubectls removes what killed runs have left.
func sweepKubectls() {
	all, _ := filepath.Glob(filepath.Join(os.TempDir(), kubectlFolder+"*"))
	for _, dir := range all {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), kubectlFolder), "-")
		if n, err := strconv.Atoi(pid); err == nil && errors.Is(syscall.Kill(n, 0), syscall.ESRCH) {
			_ = os.RemoveAll(dir)
		}
	}
}

// quoted is a word for a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
