//go:build linux

// Command sandbox stands in for Kubernetes' pause image: it holds a pod's
// namespaces until it is told to end, and reaps what was left to it. Chaos Mesh puts
// it in the place of a container for pod-failure; arguments are ignored.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
