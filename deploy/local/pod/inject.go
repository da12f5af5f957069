//go:build linux

package pod

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// extra is a process that a fault added; guarded by Pod.mu.
type extra struct {
	cmd  *exec.Cmd
	gone bool // ended with its container
}

// aliveAfter is how long an injected process must live to count as injected: a
// wrong program or argument ends it sooner.
const aliveAfter = 200 * time.Millisecond

// Inject starts a further process in the pod's network and cgroup; it ends
// with the pod's first container, or when the returned function is called. One that
// ends at once by itself is an error that quotes what it printed.
func (p *Pod) Inject(cmd *exec.Cmd) (stop func(), err error) {
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := p.spawn(cmd); err != nil {
		return nil, fmt.Errorf("pod %s: %w", p.Name, err)
	}
	added := &extra{cmd: cmd}
	p.mu.Lock()
	p.extra = append(p.extra, added)
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		p.mu.Lock()
		p.extra = slices.DeleteFunc(p.extra, func(e *extra) bool { return e == added })
		p.mu.Unlock()
		close(done)
	}()
	stop = func() {
		p.mu.Lock()
		if slices.Contains(p.extra, added) { // else it has ended, and its number may be another's
			_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		}
		p.mu.Unlock()
		<-done
	}
	select {
	case <-done:
		if added.gone { // done was closed after it was set
			return stop, nil
		}
		return nil, fmt.Errorf("pod %s: %s ended at once: %s: %.300s", p.Name, cmd.Path, cmd.ProcessState, output.String())
	case <-time.After(aliveAfter):
		return stop, nil
	}
}

// endExtraLocked ends what faults run in the pod: it is in its first container, and ends with
// that, as the processes of a StressChaos do.
func (p *Pod) endExtraLocked() {
	for _, e := range p.extra {
		e.gone = true
		_ = unix.Kill(-e.cmd.Process.Pid, unix.SIGKILL)
	}
}

// Injected returns how many processes faults have running in the pod.
func (p *Pod) Injected() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.extra)
}
