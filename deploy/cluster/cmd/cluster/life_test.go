//go:build linux

package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"seatrial/deploy/local/confine"
)

// TestLife brings the cluster up and ends it in every way there is. It needs the
// machine to itself, and SEATRIAL_CLUSTER: the path of the program.
func TestLife(t *testing.T) {
	program := os.Getenv("SEATRIAL_CLUSTER")
	if program == "" {
		t.Skip("SEATRIAL_CLUSTER names no program: make cluster-life")
	}
	if running() {
		t.Fatal("a cluster is running; make cluster-down ends it")
	}
	repository, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	do := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = repository
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("cluster %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	t.Cleanup(func() { _ = exec.Command(program, "down").Run() })
	before := outside(t)

	started := time.Now()
	do("up")
	tellReady(t, time.Since(started))
	twice(t, repository, do)
	if got := do("down"); !strings.Contains(got, "ended") {
		t.Errorf("down says %q", got)
	}
	nothingLeft(t, before)
	if got := do("down"); !strings.Contains(got, "none is running") {
		t.Errorf("a second down says %q", got)
	}
	do("up")
	kill(t, "the keeper", "/"+filepath.Base(program)+"\x00serve\x00")
	nothingLeft(t, before)

	// The other one while it comes up, with some of its containers running.
	up := exec.CommandContext(t.Context(), program, "up")
	up.Dir = repository
	var said bytes.Buffer
	up.Stdout, up.Stderr = &said, &said
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); len(processes(t, "containerd-shim")) < 3; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no containers run a minute after the start")
		}
	}
	kill(t, "the node's first process", "node-inside")
	if err := up.Wait(); err == nil {
		t.Errorf("up succeeds though its node was killed:\n%s", said.String())
	}
	t.Logf("up, whose node was killed, says: %s", said.String())
	nothingLeft(t, before)
}

// kill ends the oldest process whose command line has the words.
func kill(t *testing.T, who, words string) {
	t.Helper()
	victims := processes(t, words)
	if len(victims) == 0 {
		t.Fatalf("%s was not found", who)
	}
	if err := syscall.Kill(victims[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	t.Logf("killed %s", who)
}

// target is within how many seconds a cluster is to be ready whose parts are built. No machine is as fast
// at all times, so it is told and not asserted.
const target = 90

func tellReady(t *testing.T, took time.Duration) {
	t.Helper()
	kept := "within"
	if took.Seconds() > target {
		kept = "LATER THAN"
	}
	t.Logf("ready %.0f s after the start, %s the %d s that are wanted", took.Seconds(), kept, target)
}

// twice asks for a cluster that is there: the pods of Chaos Mesh and of Prometheus must be the same as before.
func twice(t *testing.T, repository string, do func(...string) string) {
	t.Helper()
	p := &places{repository: repository}
	if err := p.resolve(); err != nil {
		t.Fatal(err)
	}
	// What the operator makes comes after everything that an up waits for.
	for _, pod := range []string{"prometheus-seatrial-0", "alertmanager-seatrial-0"} {
		for _, condition := range []string{"create", "condition=Ready"} {
			kubectl(t, p, "wait", "--namespace=monitoring", "--for="+condition, "pod/"+pod, "--timeout=2m")
		}
	}
	first := pods(t, p)
	if again := do("up"); !strings.Contains(again, "is running") {
		t.Errorf("a second up does not say that there is one:\n%s", again)
	}
	if now := pods(t, p); now != first {
		t.Errorf("a second up changed pods. They were\n%sand are\n%s", first, now)
	}
}

// pods tells the pods of Chaos Mesh and of Prometheus, and who each is.
func pods(t *testing.T, p *places) string {
	t.Helper()
	var all strings.Builder
	for _, c := range []struct{ namespace, part string }{{"chaos-mesh", "chaos-daemon"}, {"monitoring", "prometheus-seatrial-0"}} {
		text := kubectl(t, p, "get", "pods", "--namespace="+c.namespace, "--sort-by=.metadata.name",
			`--output=jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}{"\n"}{end}`)
		if !strings.Contains(text, c.part) {
			t.Fatalf("namespace %s has no pod %s:\n%s", c.namespace, c.part, text)
		}
		all.WriteString(text)
	}
	return all.String()
}

func kubectl(t *testing.T, p *places, args ...string) string {
	t.Helper()
	text, err := p.tool(t.Context(), "kubectl", args...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// outside is what of the machine a node could change: addresses, routes, rules
// of netfilter, mounts and settings of the kernel.
func outside(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, file := range []string{"/proc/net/route", "/proc/net/dev_snmp6", "/proc/self/mountinfo",
		"/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/panic", "/proc/sys/kernel/panic_on_oops", "/proc/sys/net/ipv4/ip_forward"} {
		data, err := os.ReadFile(file)
		if err != nil {
			entries, _ := os.ReadDir(file)
			for _, e := range entries {
				data = append(data, e.Name()...)
			}
		}
		all.Write(data)
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		all.WriteString(l.Name + "\n")
	}
	return all.String()
}

// processes lists those whose command line has the words, separated by zero
// bytes, oldest first.
func processes(t *testing.T, words string) (pids []int) {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range lines {
		line, _ := os.ReadFile(file)
		if pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file))); bytes.Contains(line, []byte(words)) && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

func nothingLeft(t *testing.T, before string) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		left = nil
		for _, words := range []string{"/opt/seatrial/bin/", "containerd-shim", "node-inside"} {
			for _, pid := range processes(t, words) {
				left = append(left, "process "+strconv.Itoa(pid)+" "+words)
			}
		}
		groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + confine.CgroupPrefix(name) + ".*")
		left = append(left, groups...)
		if _, err := os.Stat(confine.Dir(name)); err == nil {
			left = append(left, confine.Dir(name))
		}
		if len(left) == 0 {
			break
		}
	}
	if len(left) > 0 {
		t.Errorf("left behind: %s", strings.Join(left, "; "))
	}
	if now := outside(t); now != before {
		t.Errorf("the machine is not as it was before:\n%s\nwas\n%s", now, before)
	}
}
