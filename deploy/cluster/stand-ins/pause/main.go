//go:build linux

// Command pause stands in for Chaos Mesh's pause: it stops itself, and when it
// is continued becomes the program that its arguments name. Meanwhile Chaos Mesh
// moves it into the cgroup of its victim. Its name must be "pause", which is what
// Chaos Mesh looks for to know whether it was continued.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: pause PROGRAM [ARGUMENT...]")
		os.Exit(2)
	}
	// Chaos Mesh repeats the signal until the name has changed: one that comes
	// before the stop must not be lost.
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		fail(err)
	}
	<-continued
	path, err := exec.LookPath(os.Args[1])
	if err != nil {
		fail(err)
	}
	fail(syscall.Exec(path, os.Args[1:], os.Environ()))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "pause: "+err.Error())
	os.Exit(1)
}
