package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// processes are the servers of a Bench. They end with this process, however that
// ends.
type processes struct {
	dir     string
	running []*process
}

type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// start starts a program, whose output goes to NAME.log.
func (p *processes) start(path string, args ...string) error {
	name := filepath.Base(path)
	log, err := os.Create(filepath.Join(p.dir, name+".log"))
	if err != nil {
		return err
	}
	proc := &process{name: name, cmd: exec.Command(path, args...), done: make(chan struct{})}
	proc.cmd.Stdout, proc.cmd.Stderr = log, log
	proc.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The signal comes when the thread ends that forked, so this one stays.
		runtime.LockOSThread()
		defer close(proc.done)
		defer log.Close()
		err := proc.cmd.Start()
		started <- err
		if err == nil {
			_ = proc.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	p.running = append(p.running, proc)
	return nil
}

// ended is the name of a server that does not run any more, or "".
func (p *processes) ended() string {
	for _, proc := range p.running {
		select {
		case <-proc.done:
			return proc.name
		default:
		}
	}
	return ""
}

// end ends the servers, the last one first.
func (p *processes) end() {
	for i := len(p.running) - 1; i >= 0; i-- {
		proc := p.running[i]
		_ = proc.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-proc.done:
		case <-time.After(3 * time.Second): // kube-apiserver waits long for its clients
			_ = proc.cmd.Process.Kill()
			<-proc.done
		}
	}
}
