//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"seatrial/verifier/lack"
)

// terminal is a program at a terminal of its own, and somebody who reads and types.
type terminal struct {
	cmd   *exec.Cmd
	ours  *os.File // the side of who sits there
	ended chan struct{}

	mu   sync.Mutex
	said strings.Builder
}

// openTerminal opens a pseudo-terminal of 120 columns and returns both sides.
func openTerminal() (ours, theirs *os.File, err error) {
	if ours, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	fd := int(ours.Fd())
	err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	n, err2 := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = err2
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 120})
	}
	if err == nil {
		theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		ours.Close()
		return nil, nil, fmt.Errorf("open a terminal: %w", err)
	}
	return ours, theirs, nil
}

// atTerminal starts a program at a terminal. Whatever the test does, it is over
// when the test is.
func atTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	ours, theirs, err := openTerminal()
	if err != nil {
		lack.Of(t, "%v", err)
	}
	term := &terminal{cmd: cmd, ours: ours, ended: make(chan struct{})}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() { defer close(read); term.read() }()
	go func() { _ = cmd.Wait(); close(term.ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-term.ended
		ours.Close()
		<-read
		if t.Failed() {
			t.Logf("the terminal showed:\n%q", term.text())
		}
	})
	return term
}

func (m *terminal) read() {
	buffer := make([]byte, 4096)
	for {
		n, err := m.ours.Read(buffer)
		m.mu.Lock()
		m.said.Write(buffer[:n])
		m.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (m *terminal) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.said.String()
}

// await waits until the terminal has shown text.
func (m *terminal) await(t *testing.T, text string, limit time.Duration) {
	t.Helper()
	deadline := time.After(limit)
	for !strings.Contains(m.text(), text) {
		select {
		case <-m.ended:
			if !strings.Contains(m.text(), text) {
				t.Fatalf("the program ended (%v) before %q", m.cmd.ProcessState, text)
			}
		case <-deadline:
			t.Fatalf("no %q within %v", text, limit)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// enter types a line.
func (m *terminal) enter(t *testing.T, line string) {
	t.Helper()
	if _, err := m.ours.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
}
