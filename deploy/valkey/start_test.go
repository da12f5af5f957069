// Package valkey_test runs the scripts that start a Valkey and its sentinel, with
// real servers on loopback addresses. It knows no testbed.
package valkey_test

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"seatrial/deploy"
	"seatrial/verifier/lack"
)

// system is three pods on loopback addresses, each a real Valkey and a real sentinel.
type system struct {
	t              *testing.T
	dir, scripts   string
	valkey, senti  string // ports
	procs          map[string]*exec.Cmd
	path, peerList string
	env            []string // of every pod
}

func newSystem(t *testing.T) *system {
	t.Helper()
	bin, err := filepath.Abs("../../.deps/bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "valkey-server")); err != nil {
		lack.Of(t, "no valkey-server: run make deps (%v)", err)
	}
	s := &system{
		t: t, dir: t.TempDir(), scripts: unpack(t, "valkey"), valkey: freePort(t), senti: freePort(t),
		procs:    map[string]*exec.Cmd{},
		path:     "PATH=" + bin + ":" + os.Getenv("PATH"),
		peerList: "PEERS=valkey-0=127.0.0.11,valkey-1=127.0.0.12,valkey-2=127.0.0.13",
	}
	t.Cleanup(s.end)
	return s
}

// unpack writes the embedded scripts into a folder, as a testbed does.
func unpack(t *testing.T, app string) string {
	t.Helper()
	scripts, err := fs.Sub(deploy.Files, app)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, scripts); err != nil {
		t.Fatal(err)
	}
	return dir
}

// freePort is free on all three addresses at the time of asking.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func host(pod int) string { return fmt.Sprintf("127.0.0.%d", 11+pod) }

// start runs script for a pod; name is "valkey" or "sentinel".
func (s *system) start(name string, pod int) {
	s.t.Helper()
	cmd := exec.Command("sh", filepath.Join(s.scripts, "start-"+name+".sh"))
	cmd.Env = []string{s.path, s.peerList,
		fmt.Sprintf("POD_NAME=valkey-%d", pod), fmt.Sprintf("DATA_DIR=%s/%d", s.dir, pod),
		"BIND=" + host(pod), "VALKEY_PORT=" + s.valkey, "SENTINEL_PORT=" + s.senti}
	cmd.Env = append(cmd.Env, s.env...)
	key := fmt.Sprintf("%s-%d", name, pod)
	log, err := os.OpenFile(s.log(key), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start %s: %v", key, err)
	}
	s.procs[key] = cmd
}

func (s *system) log(key string) string { return filepath.Join(s.dir, key+".log") }

// kill ends a process as a crash does, with the helpers of its script.
func (s *system) kill(name string, pod int) {
	key := fmt.Sprintf("%s-%d", name, pod)
	if cmd := s.procs[key]; cmd != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		delete(s.procs, key)
	}
}

func (s *system) end() {
	for pod := range 3 {
		s.kill("valkey", pod)
		s.kill("sentinel", pod)
	}
	if s.t.Failed() {
		logs, _ := filepath.Glob(s.log("*"))
		for _, path := range logs {
			text, _ := os.ReadFile(path)
			s.t.Logf("--- %s\n%s", filepath.Base(path), text)
		}
	}
}

// cli asks one server; an error is an answer too.
func (s *system) cli(addr, port string, words ...string) string {
	return s.session("", addr, port, words...)
}

// session is cli with the input's lines as commands if there are no words: all of them over one connection.
func (s *system) session(input, addr, port string, words ...string) string {
	cmd := exec.Command("timeout", append([]string{"3", "valkey-cli", "-t", "1", "-h", addr, "-p", port}, words...)...)
	cmd.Env = []string{s.path}
	cmd.Path, _ = exec.LookPath("timeout")
	cmd.Stdin = strings.NewReader(input)
	out, _ := cmd.CombinedOutput()
	return strings.TrimSpace(strings.ReplaceAll(string(out), "\r", ""))
}

// roles prints the role of each pod, "-" for none.
func (s *system) roles() (roles string, primary int) {
	primary = -1
	for pod := range 3 {
		switch info := s.cli(host(pod), s.valkey, "INFO", "replication"); {
		case strings.Contains(info, "role:master") && strings.Contains(info, "connected_slaves:2"):
			roles, primary = roles+"P", pod
		case strings.Contains(info, "role:master"):
			roles += "p"
		case strings.Contains(info, "master_link_status:up"):
			roles += "R"
		case strings.Contains(info, "role:slave"):
			roles += "r"
		default:
			roles += "-"
		}
	}
	return roles, primary
}

// await fails the test if ok stays false for too long.
func (s *system) await(what string, ok func() bool) time.Duration {
	s.t.Helper()
	began := time.Now()
	for time.Since(began) < 2*time.Minute {
		if ok() {
			return time.Since(began).Round(100 * time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
	}
	roles, _ := s.roles()
	s.t.Fatalf("%s: not within two minutes; roles %s", what, roles)
	return 0
}

// whole awaits one primary with two replicas in sync, and returns its pod.
func (s *system) whole(what string) int {
	s.t.Helper()
	pod := -1
	took := s.await(what, func() bool {
		roles, p := s.roles()
		pod = p
		return strings.Count(roles, "P") == 1 && strings.Count(roles, "R") == 2
	})
	s.t.Logf("%s: whole after %s, primary valkey-%d", what, took, pod)
	return pod
}

// watched awaits that every sentinel names the pod and knows of two replicas and two sentinels.
func (s *system) watched(pod int) {
	s.t.Helper()
	s.await("sentinels watch", func() bool {
		for i := range 3 {
			f := strings.Split(s.cli(host(i), s.senti, "SENTINEL", "MASTER", "seatrial"), "\n")
			is := map[string]string{}
			for j := 0; j+1 < len(f); j += 2 {
				is[f[j]] = f[j+1]
			}
			if is["ip"] != host(pod) || is["num-slaves"] != "2" || is["num-other-sentinels"] != "2" || is["down-after-milliseconds"] != "3000" {
				return false
			}
		}
		return true
	})
}

// set writes a key and awaits that a replica has it. WAIT counts replicas that have what its own connection wrote, and
// those that have just come are sent nothing before their next sign of life, up to a second later.
func (s *system) set(pod int, key, value string) {
	s.t.Helper()
	s.await("write "+key, func() bool {
		answers := s.session("SET "+key+" "+value+"\nWAIT 1 2000\n", host(pod), s.valkey)
		return answers == "OK\n1" || answers == "OK\n2"
	})
}

func (s *system) want(pod int, key, value string) {
	s.t.Helper()
	if got := s.cli(host(pod), s.valkey, "GET", key); got != value {
		s.t.Errorf("GET %s from valkey-%d: %q, want %q", key, pod, got, value)
	}
}

// TestStart lives through what a system of three meets in its life.
func TestStart(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute of real time")
	}
	s := newSystem(t)
	for pod := range 3 {
		s.start("sentinel", pod)
		s.start("valkey", pod)
	}
	first := s.whole("new system")
	if first != 0 {
		t.Fatalf("valkey-%d founded the system", first)
	}
	s.watched(first)
	s.set(first, "a", "1")

	// The primary dies and is started again at once: it must not be primary again.
	s.kill("valkey", first)
	s.start("valkey", first)
	second := s.whole("primary restarted")
	if second == first {
		t.Errorf("valkey-%d came back as primary beside replicas that lived", first)
	}
	s.watched(second)
	s.want(second, "a", "1")
	s.set(second, "b", "2")

	// Everything dies and comes back at once.
	ids := map[string]bool{}
	for pod := range 3 {
		ids[s.cli(host(pod), s.senti, "SENTINEL", "MYID")] = true
		s.kill("sentinel", pod)
		s.kill("valkey", pod)
	}
	for pod := range 3 {
		s.start("valkey", pod)
		s.start("sentinel", pod)
	}
	third := s.whole("everything restarted")
	if third != second {
		t.Errorf("primary after a whole restart: valkey-%d, was valkey-%d", third, second)
	}
	s.want(third, "a", "1")
	s.want(third, "b", "2")
	for pod := range 3 {
		if id := s.cli(host(pod), s.senti, "SENTINEL", "MYID"); !ids[id] {
			t.Errorf("sentinel %d has a new id %s", pod, id)
		}
	}

	// A replica that lost its volume gets everything anew.
	lost := (third + 1) % 3
	s.kill("valkey", lost)
	s.kill("sentinel", lost)
	if err := os.RemoveAll(fmt.Sprintf("%s/%d", s.dir, lost)); err != nil {
		t.Fatal(err)
	}
	s.start("valkey", lost)
	s.start("sentinel", lost)
	if p := s.whole("volume lost"); p != third {
		t.Errorf("a lost volume moved the primary to valkey-%d", p)
	}
	s.want(lost, "b", "2")
	s.await("promotable again", func() bool {
		return strings.Contains(s.cli(host(lost), s.valkey, "INFO", "replication"), "slave_priority:100")
	})
}

// TestSentinelsRefuse takes the primary away while the sentinels do not look. When they look again, they
// find every replica too long without it, and would refuse to promote one for ever.
func TestSentinelsRefuse(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute of real time")
	}
	s := newSystem(t)
	s.env = []string{"DOWN_AFTER_MS=1000", "PATIENCE=10"} // ten times the former is what they tolerate
	for pod := range 3 {
		s.start("sentinel", pod)
		s.start("valkey", pod)
	}
	first := s.whole("new system")
	s.await("sentinels watch", func() bool {
		watching := 0
		for pod := range 3 {
			is := s.cli(host(pod), s.senti, "SENTINEL", "MASTER", "seatrial")
			if strings.Contains(is, "num-slaves\n2\n") && strings.Contains(is, "down-after-milliseconds\n1000\n") {
				watching++
			}
		}
		return watching == 3
	})
	s.set(first, "a", "1")
	for pod := range 3 {
		s.kill("sentinel", pod)
	}
	s.kill("valkey", first)
	time.Sleep(13 * time.Second)
	for pod := range 3 {
		s.start("sentinel", pod)
	}
	s.start("valkey", first)
	second := s.whole("sentinels refused")
	s.want(second, "a", "1")
	s.set(second, "b", "2")
	began, _ := os.ReadFile(s.log(fmt.Sprintf("valkey-%d", first)))
	if n := strings.Count(string(began), "comes up as primary"); n != 1 {
		t.Errorf("valkey-%d came up as primary %d times, want once: beside replicas that live it may not", first, n)
	}
	refused, promoted := 0, 0
	for pod := range 3 {
		text, _ := os.ReadFile(s.log(fmt.Sprintf("sentinel-%d", pod)))
		refused += strings.Count(string(text), "-failover-abort-no-good-slave")
		text, _ = os.ReadFile(s.log(fmt.Sprintf("valkey-%d", pod)))
		promoted += strings.Count(string(text), "was told to be primary: OK")
	}
	if refused == 0 || promoted != 1 {
		t.Errorf("the sentinels refused %d times and %d replicas were promoted without them, want at least once and 1", refused, promoted)
	}
}

// TestFounderWaits starts the first pod alone: it may not call itself primary, because
// the silent ones may hold data.
func TestFounderWaits(t *testing.T) {
	s := newSystem(t)
	s.start("sentinel", 0)
	s.start("valkey", 0)
	s.await("it says why it waits", func() bool {
		text, _ := os.ReadFile(s.log("valkey-0"))
		return strings.Contains(string(text), "wait no sentinel names a primary, and only 1 of 3")
	})
	if roles, _ := s.roles(); roles != "---" {
		t.Errorf("roles %s while two pods are silent", roles)
	}
}

// TestSlowAnswers founds a system where every answer takes longer than a question may at first, as on a machine
// whose processors are all taken: the questions have to wait longer, or nothing is ever founded.
func TestSlowAnswers(t *testing.T) {
	s := newSystem(t)
	slow := filepath.Join(t.TempDir(), "valkey-cli")
	if err := os.WriteFile(slow, []byte("#!/bin/sh\nsleep 2.5\nexec valkey-cli \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.env = []string{"VALKEY_CLI=" + slow}
	for pod := range 3 {
		s.start("sentinel", pod)
		s.start("valkey", pod)
	}
	s.watched(s.whole("answers after 2.5 s"))
}

// TestSecondServerWaits starts a server on a volume that another one still has, as a
// pod that was deleted by force and its successor do.
func TestSecondServerWaits(t *testing.T) {
	for _, name := range []string{"valkey", "sentinel"} {
		s := newSystem(t)
		key := name + "-0"
		said := func(words string) func() bool {
			return func() bool {
				text, _ := os.ReadFile(s.log(key))
				return strings.Contains(string(text), words)
			}
		}
		began := map[string]string{"valkey": "wait no sentinel names a primary", "sentinel": "knows of no primary yet"}[name]
		s.start(name, 0)
		s.await("the first begins", said(began))
		old := s.procs[key]
		s.start(name, 0)
		s.await("the second says that it waits", said("another server still has"))
		text, _ := os.ReadFile(s.log(key))
		if n := strings.Count(string(text), began); n != 1 {
			t.Errorf("%s: %d of two have begun", name, n)
		}
		before := len(text)
		_ = syscall.Kill(-old.Process.Pid, syscall.SIGKILL)
		_ = old.Wait()
		s.await("the second begins", func() bool {
			text, _ := os.ReadFile(s.log(key))
			return strings.Contains(string(text[before:]), "start-"+name+": valkey-0: ")
		})
	}
}
