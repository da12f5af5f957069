//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// childName is set for the child that finishes what its parent began: a namespace
// of processes is entered by children only.
const childName = "SEATRIAL_NSEXEC_CHILD"

// lifeline is the child's end of a pipe that closes when its parent ends.
const lifeline = 3

// watch runs this program again as a child, with the same arguments, and hands on
// its status, and to it the signals.
func watch(args []string) (int, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return 1, err
	}
	defer write.Close()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), childName+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{read}
	// Whoever ends this program means the one that it runs.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT)
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("start a child in the namespace of processes: %w", err)
	}
	read.Close()
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// bind ends this process, whatever program it becomes, with its parent. Go's
// Pdeathsig would not do: it takes a parent outside of the namespace, whose number
// is 0, for a dead one.
func bind() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("bind to the parent's life: %w", err)
	}
	ends := []unix.PollFd{{Fd: lifeline}}
	if _, err := unix.Poll(ends, 0); err != nil {
		return fmt.Errorf("look whether the parent lives: %w", err)
	}
	if ends[0].Revents&unix.POLLHUP != 0 {
		return errors.New("the parent ended")
	}
	unix.CloseOnExec(lifeline)
	return os.Unsetenv(childName)
}
