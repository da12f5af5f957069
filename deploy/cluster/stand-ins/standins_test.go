//go:build linux

// Package standins tests the stand-ins as Chaos Mesh and Kubernetes use them: as
// programs, on real processes in real namespaces. It knows nothing of their code.
package standins

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bin is where the programs were built.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "stand-ins-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		build := exec.Command("go", "build", "-o", dir, "./...")
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // they run where there is no libc
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the stand-ins: %v\n%s", err, out)
			return 1
		}
		bin = dir
		return m.Run()
	}())
}

// process is a started program.
type process struct {
	*exec.Cmd
	output *bytes.Buffer
	ended  chan struct{}
}

// start runs a program, which is killed when the test ends before it.
func start(t *testing.T, flags uintptr, program string, args ...string) *process {
	t.Helper()
	if !strings.Contains(program, "/") {
		program = filepath.Join(bin, program)
	}
	p := &process{exec.Command(program, args...), &bytes.Buffer{}, make(chan struct{})}
	p.Stdout, p.Stderr = p.output, p.output
	p.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	p.WaitDelay = 5 * time.Second // a grandchild may hold the output open
	if err := p.Start(); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	go func() { _ = p.Wait(); close(p.ended) }()
	t.Cleanup(func() { _ = p.Process.Kill(); <-p.ended })
	return p
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatalf("send %v to %s: %v", s, p.Path, err)
	}
}

// exit waits for the end and returns the status, and what was printed.
func (p *process) exit(t *testing.T) (int, string) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		t.Fatalf("%s %v has not ended", p.Path, p.Args[1:])
	}
	return p.ProcessState.ExitCode(), p.output.String()
}

// eventually waits until what is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to this: %s", what)
		}
	}
}

// status returns a field of /proc/PID/status, "" when there is no such process.
func status(pid int, field string) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(data)) {
		if value, is := strings.CutPrefix(line, field+":"); is {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// catches says whether a shell has a trap for a signal.
func catches(pid int, s syscall.Signal) bool {
	caught, err := strconv.ParseUint(status(pid, "SigCgt"), 16, 64)
	return err == nil && caught>>(s-1)&1 == 1
}

// children of a process.
func children(t *testing.T, pid int) (all []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range stats {
		child, _ := strconv.Atoi(filepath.Base(dir))
		if status(child, "PPid") == strconv.Itoa(pid) {
			all = append(all, child)
		}
	}
	return all
}

func namespace(t *testing.T, pid int, kind string) (file, id string) {
	t.Helper()
	file = fmt.Sprintf("/proc/%d/ns/%s", pid, kind)
	id, err := os.Readlink(file)
	if err != nil {
		t.Fatalf("read a namespace: %v", err)
	}
	return file, id
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("namespaces need root")
	}
}

// victim is a process in namespaces of its own.
func victim(t *testing.T) int {
	t.Helper()
	needRoot(t)
	const all = syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNS
	return start(t, all, "sandbox").Process.Pid
}
