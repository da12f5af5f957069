//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// traces is what one testbed might leave on this machine. Other testbeds may
// run at the same time, so everything is told apart by the testbed's own folder
// and name.
type traces struct {
	state      string // value of SEATRIAL_STATE, of no other testbed
	name       string // the testbed's
	namespaces map[string]bool
	mounts     map[string]bool // mounts and devices that were there before
	devices    map[string]bool
}

func newTraces(state, name string) *traces {
	return &traces{state: state, name: name, namespaces: map[string]bool{}, mounts: mounts(), devices: devices()}
}

func mounts() map[string]bool {
	data, _ := os.ReadFile("/proc/self/mountinfo")
	all := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		all[line] = true
	}
	return all
}

// devices are the TUN devices of the host's own network.
func devices() map[string]bool {
	paths, _ := filepath.Glob("/sys/class/net/*/tun_flags")
	all := map[string]bool{}
	for _, p := range paths {
		all[filepath.Base(filepath.Dir(p))] = true
	}
	return all
}

// pids are the testbed's processes that are alive: they have its folder in
// their environment or are in one of its cgroups.
func (tr *traces) pids() (all []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		cgroup, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cgroup"))
		if bytes.Contains(environ, []byte(tr.state)) || bytes.Contains(cgroup, []byte("/seatrial-"+tr.name+".")) {
			all = append(all, pid)
		}
	}
	return all
}

var namespaceKinds = []string{"net", "mnt", "pid"}

// note remembers the namespaces that the testbed has at this moment.
func (tr *traces) note() {
	for _, pid := range tr.pids() {
		for _, kind := range namespaceKinds {
			ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
			own, _ := os.Readlink("/proc/self/ns/" + kind)
			if err == nil && ns != own {
				tr.namespaces[ns] = true
			}
		}
	}
}

// living is what must be gone with the testbed's processes, whatever was
// killed.
func (tr *traces) living() (left []string) {
	for _, pid := range tr.pids() {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		left = append(left, fmt.Sprintf("process %d %.80q", pid, bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
	}
	for _, kind := range namespaceKinds {
		links, _ := filepath.Glob("/proc/[0-9]*/ns/" + kind)
		for _, link := range links {
			if ns, _ := os.Readlink(link); tr.namespaces[ns] {
				left = append(left, "namespace "+ns+" of "+link)
			}
		}
	}
	for line := range mounts() {
		if !tr.mounts[line] && (strings.Contains(line, tr.state) || strings.Contains(line, "nsfs")) {
			left = append(left, "mount "+line)
		}
	}
	for name := range devices() {
		if !tr.devices[name] {
			left = append(left, "device "+name)
		}
	}
	sockets, _ := os.ReadFile("/proc/net/unix")
	for line := range strings.Lines(string(sockets)) {
		if strings.Contains(line, tr.state) {
			left = append(left, "socket "+line)
		}
	}
	return left
}

// lasting is what the kernel does not take back: files and cgroups.
func (tr *traces) lasting() (left []string) {
	entries, _ := os.ReadDir(tr.state)
	for _, e := range entries {
		left = append(left, "folder "+filepath.Join(tr.state, e.Name()))
	}
	for _, pattern := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/"} {
		dirs, _ := filepath.Glob(pattern + "seatrial-" + tr.name + ".*")
		left = append(left, dirs...)
	}
	return left
}

func (tr *traces) all() []string { return append(tr.living(), tr.lasting()...) }

// gone waits until what lists nothing any more and returns how long it took.
func gone(t *testing.T, what func() []string) time.Duration {
	t.Helper()
	begun := time.Now()
	for {
		left := what()
		if len(left) == 0 {
			return time.Since(begun)
		}
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("still there after %v:\n%s", time.Since(begun).Round(time.Second), strings.Join(left, "\n"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestNextStartSweeps kills both of a testbed's processes at once, when it is
// all up: folder and cgroups are left, and the next start removes them. It also
// shows that residue would be seen: one that is not makes tests that cannot fail.
func TestNextStartSweeps(t *testing.T) {
	needTestbed(t)
	state := t.TempDir()
	run := startRun(t, state)
	run.await(t, "ready", 3*time.Minute)
	run.traces.note()
	living := strings.Join(run.traces.living(), "\n")
	for _, want := range []string{"process", "nats-server", "valkey-server", "namespace net:", "namespace mnt:", "namespace pid:"} {
		if !strings.Contains(living, want) {
			t.Errorf("%q is not among what is seen alive:\n%s", want, living)
		}
	}
	if n := len(run.traces.namespaces); n < 10 {
		t.Errorf("%d namespaces seen, want one a pod at least", n)
	}
	run.kill(t, both)
	gone(t, run.traces.living)
	lasting := strings.Join(run.traces.lasting(), "\n")
	for _, want := range []string{"folder " + state, "/seatrial-" + run.traces.name + ".nats-0"} {
		if !strings.Contains(lasting, want) {
			t.Errorf("%q is not among what is seen lasting:\n%s", want, lasting)
		}
	}
	next := startRun(t, state)
	next.await(t, "run ", time.Minute)
	for _, left := range run.traces.lasting() {
		if !strings.HasSuffix(left, next.traces.name+".testbed") {
			t.Errorf("the next start left %s", left)
		}
	}
	next.kill(t, keeper)
	gone(t, next.traces.all)
}
