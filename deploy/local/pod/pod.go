//go:build linux

// Package pod runs a pod of the local testbed: a group of real processes that
// share an address in the virtual network and a cgroup, each restarted when it
// ends, as a kubelet would.
//
// It knows nothing of what the processes are, nor why anyone would kill them.
package pod

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Container is one process of a pod.
type Container struct {
	Name    string
	Command []string // argv; the program by its absolute path
	Env     []string // KEY=value, in addition to PATH and HOME
	// Restart makes it come back when it ends (a kubelet's restartPolicy Always).
	Restart bool
}

// Spec says what a pod is.
type Spec struct {
	Name       string
	Labels     map[string]string
	Addr       netip.Addr
	CPUs       float64 // limit in cores, 0 for none
	Memory     uint64  // limit in bytes, 0 for none
	Containers []Container
	// Ready answers nil when the pod can serve. It is called from the node's
	// side of the network, never from the pod's own. Nil: running is ready.
	Ready func(context.Context) error
}

// Port is the pod's place in the network: whatever can start a process there.
type Port interface {
	// Start starts cmd inside the pod's network; prepare runs on the thread
	// that forks.
	Start(cmd *exec.Cmd, prepare func() error) error
}

// Back-off of restarts: a kubelet's 10 s doubling to 300 s, at a tenth of the
// scale and capped lower, because trials last seconds.
const (
	firstBackOff = 500 * time.Millisecond
	maxBackOff   = 8 * time.Second
	// stableAfter is how long a container must have run for its back-off to
	// start anew (a kubelet's 10 minutes).
	stableAfter = 10 * time.Second
	// recreateAfter stands for what a controller and a scheduler need to
	// replace a deleted pod.
	recreateAfter = time.Second
)

// burstable is the oom_score_adj of the processes of a pod with a memory limit: about what a kubelet
// gives a pod that asks for less than its limit.
const burstable = "985"

// Pod is a running pod. Its methods may be called from any goroutine.
type Pod struct {
	Spec
	cg   *cgroup
	port Port
	logs string // folder of log files, one a container

	mu       sync.Mutex
	running  []*container
	held     bool // kept down on purpose
	stopping bool
	extra    []*extra // processes that a fault added
}

// container is one container's life; guarded by Pod.mu.
type container struct {
	Container
	cmd      *exec.Cmd
	done     chan struct{} // closed when cmd has been reaped
	started  time.Time
	restarts int
	backOff  time.Duration
	timer    *time.Timer
	lastExit string
}

// New makes a pod with the cgroup called cgroupName; Start starts it.
func New(spec Spec, port Port, cgroupName, logs string) (*Pod, error) {
	cg, err := newCgroup(cgroupName, spec.CPUs, spec.Memory)
	if err != nil {
		return nil, fmt.Errorf("pod %s: %w", spec.Name, err)
	}
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, fmt.Errorf("pod %s: %w", spec.Name, err)
	}
	p := &Pod{Spec: spec, cg: cg, port: port, logs: logs}
	for _, c := range spec.Containers {
		p.running = append(p.running, &container{Container: c, backOff: firstBackOff})
	}
	return p, nil
}

// Start starts every container.
func (p *Pod) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.running {
		if err := p.startLocked(c); err != nil {
			return fmt.Errorf("pod %s: start %s: %w", p.Name, c.Name, err)
		}
	}
	return nil
}

// Log returns the path of a container's log.
func (p *Pod) Log(container string) string { return filepath.Join(p.logs, container+".log") }

func (p *Pod) startLocked(c *container) error {
	log, err := os.OpenFile(p.Log(c.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.Command[0], c.Command[1:]...)
	cmd.Env = c.Env
	cmd.Stdout, cmd.Stderr = log, log
	if err := p.spawn(cmd); err != nil {
		return err
	}
	c.cmd, c.started, c.done = cmd, time.Now(), make(chan struct{})
	go p.reap(c, cmd, c.done)
	return nil
}

// spawn starts cmd in the pod's network and cgroup.
func (p *Pod) spawn(cmd *exec.Cmd) error {
	// A process group of its own, so that a kill reaches what it forked too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.cg.v2 {
		dir, err := os.Open(p.cg.dirs[0])
		if err != nil {
			return err
		}
		defer dir.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	if err := p.port.Start(cmd, p.cg.enterThread); err != nil || p.Memory == 0 {
		return err
	}
	// It may have ended already.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", cmd.Process.Pid), []byte(burstable), 0)
	return nil
}

// reap waits for one life of a container and plans the next.
func (p *Pod) reap(c *container, cmd *exec.Cmd, done chan struct{}) {
	_ = cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	close(done)
	c.cmd, c.lastExit = nil, cmd.ProcessState.String()
	if c == p.running[0] {
		p.endExtraLocked()
	}
	if time.Since(c.started) > stableAfter {
		c.backOff = firstBackOff
	}
	if p.held || p.stopping || !c.Restart {
		return
	}
	p.planLocked(c, c.backOff)
	c.backOff = min(2*c.backOff, maxBackOff)
}

// planLocked starts c again after wait, unless the pod is held or stopped by then.
func (p *Pod) planLocked(c *container, wait time.Duration) {
	c.timer = time.AfterFunc(wait, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.held || p.stopping || c.cmd != nil {
			return
		}
		c.restarts++
		if err := p.startLocked(c); err != nil {
			c.lastExit = err.Error()
			p.planLocked(c, maxBackOff)
		}
	})
}

// KillContainers sends SIGKILL to the named containers; they come back after
// their back-off. A name that the pod has not is an error.
func (p *Pod) KillContainers(names ...string) error {
	for _, name := range names {
		if !slices.ContainsFunc(p.Containers, func(c Container) bool { return c.Name == name }) {
			return fmt.Errorf("pod %s has no container %q", p.Name, name)
		}
	}
	p.signal(unix.SIGKILL, names)
	return nil
}

// Replace ends the pod (SIGTERM, and SIGKILL after grace), with what faults have running in
// it, and starts it anew, also one that a fault keeps down, as a controller does with a deleted pod;
// volumes and address stay. It returns when the old one is dead.
func (p *Pod) Replace(grace time.Duration) {
	p.halt(&p.held)
	if grace > 0 {
		p.signal(unix.SIGTERM, nil)
		p.wait(grace)
	}
	p.Hold()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = false
	for _, c := range p.running {
		c.backOff = firstBackOff
		p.planLocked(c, recreateAfter)
	}
}

// Hold kills every container and keeps the pod down until Release. It returns
// when all are dead.
func (p *Pod) Hold() {
	p.halt(&p.held)
	p.signal(unix.SIGKILL, nil)
	p.wait(5 * time.Second)
}

// halt sets why containers are not to start again, and calls off those that are
// about to.
func (p *Pod) halt(why *bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*why = true
	for _, c := range p.running {
		if c.timer != nil {
			c.timer.Stop()
		}
	}
}

// Release lets a held pod start again, at once. It does nothing to one that is not held.
func (p *Pod) Release() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.held || p.stopping {
		return nil
	}
	p.held = false
	var errs []error
	for _, c := range p.running {
		if c.cmd == nil {
			c.restarts++
			errs = append(errs, p.startLocked(c))
		}
	}
	return errors.Join(errs...)
}

// Held says whether the pod is kept down on purpose.
func (p *Pod) Held() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

// Stop ends the pod: SIGTERM, and SIGKILL after grace. The cgroup is removed.
func (p *Pod) Stop(grace time.Duration) error {
	p.halt(&p.stopping)
	p.signal(unix.SIGTERM, nil)
	if !p.wait(grace) {
		p.signal(unix.SIGKILL, nil)
		p.wait(5 * time.Second)
	}
	for _, pid := range p.cg.pids() { // what containers forked and left
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	var err error
	for range 50 {
		if err = p.cg.remove(); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("pod %s: %w", p.Name, err)
}

// signal sends s to the process groups of the named containers, or of all.
func (p *Pod) signal(s unix.Signal, names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.running {
		if c.cmd != nil && (names == nil || slices.Contains(names, c.Name)) {
			_ = unix.Kill(-c.cmd.Process.Pid, s)
		}
	}
}

// wait waits until no container runs, for at most limit.
func (p *Pod) wait(limit time.Duration) bool {
	deadline := time.After(limit)
	for _, done := range p.dying() {
		select {
		case <-done:
		case <-deadline:
			return false
		}
	}
	return true
}

func (p *Pod) dying() (all []chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.running {
		if c.cmd != nil {
			all = append(all, c.done)
		}
	}
	return all
}

// ContainerStatus is what a container is at this moment.
type ContainerStatus struct {
	Name     string    `json:"name"`
	Running  bool      `json:"running"`
	PID      int       `json:"pid"` // in the testbed's PID namespace, 0 when not running
	Restarts int       `json:"restarts"`
	Started  time.Time `json:"started"`
	LastExit string    `json:"last_exit,omitempty"`
}

// Status returns the state of every container.
func (p *Pod) Status() []ContainerStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []ContainerStatus
	for _, c := range p.running {
		s := ContainerStatus{Name: c.Name, Restarts: c.restarts, Started: c.started, LastExit: c.lastExit}
		if c.cmd != nil {
			s.Running, s.PID = true, c.cmd.Process.Pid
		}
		all = append(all, s)
	}
	return all
}

// Running says whether every container runs.
func (p *Pod) Running() bool {
	for _, c := range p.Status() {
		if !c.Running {
			return false
		}
	}
	return true
}
