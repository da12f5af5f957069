//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestCLI holds the sessions under testdata/cli: what a user types, and what
// they read. Sessions that need root, or that start a testbed, say so.
func TestCLI(t *testing.T) {
	bin := commands(t)
	repo, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/cli",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			e.Setenv("BIN", bin)
			e.Setenv("REPO", repo)
			e.Setenv("DEPS", dependencies(t))
			state := filepath.Join(e.WorkDir, "state")
			e.Setenv("SEATRIAL_STATE", state)
			e.Defer(func() { takeDown(bin, state) })
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "testbed":
				return os.Geteuid() == 0 && exists("/dev/net/tun") && exists(filepath.Join(dependencies(t), "bin", "nats-server")), nil
			case "namespaces":
				return exec.Command("unshare", "-m", "true").Run() == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "evidence": makeEvidence, "diagnosed": diagnosed, "cut": cut, "listen": listenOn, "hush": noTrace,
			"doors": doors, "slay": slay,
		},
	})
}

// takeDown ends the testbeds that a session which failed has left up.
func takeDown(bin, state string) {
	left, _ := filepath.Glob(filepath.Join(state, "*.testbed"))
	for _, dir := range left {
		down := exec.Command(filepath.Join(bin, "seatrial"), "down", "--name", strings.TrimSuffix(filepath.Base(dir), ".testbed"))
		down.Env = append(os.Environ(), "SEATRIAL_STATE="+state)
		_ = down.Run() // one that is on its way down by itself is no longer up
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// exits STATUS COMMAND… runs a command that must end with the status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	status := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		status = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if status != want {
		ts.Fatalf("exit status %d, want %d", status, want)
	}
}

// listenOn NAME takes a port on 127.0.0.1 until the script ends; NAME gets its number.
func listenOn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listen NAME")
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// cut FILE BYTES cuts so many bytes off a file's end.
func cut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cut FILE BYTES")
	}
	path := ts.MkAbs(args[0])
	info, err := os.Stat(path)
	ts.Check(err)
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(path, info.Size()-n))
}

// noTrace (hush) waits until nothing is left of any testbed of this script.
func noTrace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: hush")
	}
	tr := newTraces(ts.Getenv("SEATRIAL_STATE"), "no-name") // the state folder tells them apart
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left := tr.all()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("still there:\n%s", strings.Join(left, "\n"))
		}
	}
}

var door = regexp.MustCompile(`(?m)^(API|Prometheus|Alertmanager) +(http://\S+)$`)

// doors tries the addresses that the last command has printed: the API accepts
// a task, the others are ready.
func doors(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: doors")
	}
	urls := map[string]string{}
	for _, m := range door.FindAllStringSubmatch(ts.ReadFile("stdout"), -1) {
		urls[m[1]] = m[2]
	}
	client := &http.Client{Timeout: 20 * time.Second}
	answer := func(want int, res *http.Response, err error) {
		ts.Check(err)
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != want {
			ts.Fatalf("%s %s: %s: %s", res.Request.Method, res.Request.URL, res.Status, body)
		}
	}
	res, err := client.Post(urls["API"]+"/task", "application/json", strings.NewReader(`{"id":"by-hand","payload":{"order":1}}`))
	answer(http.StatusAccepted, res, err)
	for _, name := range []string{"Prometheus", "Alertmanager"} {
		res, err := client.Get(urls[name] + "/-/ready")
		answer(http.StatusOK, res, err)
	}
}

// slay NAME kills both processes of a testbed that is up, at once.
func slay(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: slay NAME")
	}
	var found []int
	stats, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range stats {
		cmdline, _ := os.ReadFile(path)
		environ, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
		if strings.Contains(string(cmdline), serveCommand+"\x00--name\x00"+args[0]) && strings.Contains(string(environ), ts.Getenv("SEATRIAL_STATE")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			found = append(found, pid)
		}
	}
	if len(found) != 2 {
		ts.Fatalf("testbed %s has %d processes, want keeper and confined: %v", args[0], len(found), found)
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", found[0]))
	if !strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", found[1])) {
		found[0], found[1] = found[1], found[0]
	}
	// The child first: a stopped child is continued by the kernel when its
	// parent dies.
	for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		for _, pid := range found {
			ts.Check(syscall.Kill(pid, s))
		}
	}
	for deadline := time.Now().Add(20 * time.Second); exists(fmt.Sprintf("/proc/%d", found[0])) || exists(fmt.Sprintf("/proc/%d", found[1])); {
		if time.Now().After(deadline) {
			ts.Fatalf("processes %v do not die", found)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
