// Package cmd_test runs the commands as processes, on real servers, and kills
// what they depend on. It judges them by what their clients were told.
package cmd_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"seatrial/services/fixture"
)

var bin string // directory of the built commands

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "seatrial-cmd-")
	if err != nil {
		panic(err)
	}
	bin = dir
	out, err := exec.Command("go", "build", "-o", dir, "./api", "./worker", "./nats-exporter").CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func TestSystem(t *testing.T) {
	s := start(t, "SEATRIAL_WORK_KIND=sleep", "SEATRIAL_WORK_TIME=5ms")
	t.Run("a task is accepted and done once", s.once)
	t.Run("poison becomes a dead letter", s.poison)
	t.Run("bad requests", s.badRequests)
	t.Run("a worker is killed", s.killWorker)
	t.Run("the Valkey primary is killed", s.killPrimary)
	t.Run("two of three NATS are killed", s.killNATS)
	t.Run("a worker drains", s.drainWorker)
	t.Run("an API drains", s.drainAPI)
}

func (s *system) once(t *testing.T) {
	for range 3 {
		if outcome, code := post(s.apis[0], "once-1", `{"a":1}`); outcome != "accepted" || code != http.StatusAccepted {
			t.Fatalf("got %s, %d", outcome, code)
		}
	}
	s.awaitStatus(t, "once-1", "done")
	if outcome, _ := post(s.apis[1], "once-1", `{"a":1}`); outcome != "accepted" {
		t.Errorf("an id that is done: %s", outcome)
	}
	fixture.Eventually(t, 10*time.Second, "no backlog", func() error {
		if _, body, err := get(s.apis[1], "/stats"); err != nil || !strings.Contains(body, `"queue_backlog_length":0,"worker_processed_count":1}`) {
			return fmt.Errorf("stats %s %w", body, err)
		}
		return nil
	})
	done, err := s.export("once-")
	if err != nil || done["once-1"].Effects != 1 {
		t.Errorf("got %v, %v", done, err)
	}
	if code, _, _ := get(s.apis[0], "/task/nobody"); code != http.StatusNotFound {
		t.Errorf("an unknown task: %d", code)
	}
}

func (s *system) awaitStatus(t *testing.T, id, want string) {
	t.Helper()
	fixture.Eventually(t, 20*time.Second, id+" "+want, func() error {
		_, body, err := get(s.apis[0], "/task/"+id)
		if err == nil && !strings.Contains(body, `"status":"`+want+`"`) {
			err = errors.New(body)
		}
		return err
	})
}

func (s *system) poison(t *testing.T) {
	if outcome, _ := post(s.apis[0], "poison-1", `{"poison":true}`); outcome != "accepted" {
		t.Fatal(outcome)
	}
	s.awaitStatus(t, "poison-1", "dead")
	done, err := s.export("poison-")
	if err != nil || done["poison-1"].Effects != 0 || done["poison-1"].Status != "dead" {
		t.Errorf("got %v, %v", done, err)
	}
	letters := 0
	for _, w := range s.workers {
		_, body, _ := get(w, "/metrics")
		letters += strings.Count(body, "worker_tasks_dead_total 1")
	}
	if letters != 1 {
		t.Errorf("%d dead letters", letters)
	}
}

func (s *system) badRequests(t *testing.T) {
	for name, tc := range map[string]struct {
		kind, body string
		code       int
	}{
		"not JSON":     {"text/plain", `{"payload":1}`, http.StatusUnsupportedMediaType},
		"bad id":       {"application/json", `{"payload":1,"id":"a b"}`, http.StatusBadRequest},
		"far too long": {"application/json", `{"payload":"` + strings.Repeat("a", 1<<20) + `"}`, http.StatusRequestEntityTooLarge},
	} {
		resp, err := client.Post("http://"+s.apis[0].Addr+"/task", tc.kind, bytes.NewReader([]byte(tc.body)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != tc.code || resp.Header.Get("Task-Outcome") != "refused" {
			t.Errorf("%s: %d, %s", name, resp.StatusCode, resp.Header.Get("Task-Outcome"))
		}
	}
}

func (s *system) killWorker(t *testing.T) {
	l := s.during("worker", func() {
		time.Sleep(500 * time.Millisecond)
		s.workers[0].Kill()
		time.Sleep(500 * time.Millisecond)
		s.workers[0].Start()
		time.Sleep(500 * time.Millisecond)
	})
	s.judge(t, "worker", l)
}

func (s *system) killPrimary(t *testing.T) {
	primary := s.valkey.Primary(t)
	l := s.during("primary", func() {
		time.Sleep(500 * time.Millisecond)
		primary.Kill()
		time.Sleep(3 * time.Second)
	})
	s.judge(t, "primary", l)
	primary.Start()
}

func (s *system) killNATS(t *testing.T) {
	asked := map[string]string{} // beside the load: what was told while two servers were down
	l := s.during("nats", func() {
		time.Sleep(500 * time.Millisecond)
		s.nats.Servers[0].Kill()
		s.nats.Servers[1].Kill()
		fixture.Eventually(t, 10*time.Second, "a definite no", func() error {
			id := fmt.Sprint("nats-asked-", len(asked))
			asked[id], _ = post(s.apis[0], id, "1")
			if asked[id] != "refused" {
				return errors.New(asked[id])
			}
			return nil
		})
		if code, _, _ := get(s.apis[0], "/healthz"); code != http.StatusOK {
			t.Errorf("healthz looks at a dependency: %d", code)
		}
		if code, _, _ := get(s.apis[0], "/readyz"); code != http.StatusServiceUnavailable {
			t.Errorf("ready although nothing can be accepted: %d", code)
		}
		s.nats.Servers[0].Start()
		s.nats.Servers[1].Start()
		s.ready(t, s.apis[0])
		s.ready(t, s.apis[1])
		time.Sleep(500 * time.Millisecond)
	})
	maps.Copy(l.told, asked)
	s.judge(t, "nats", l)
	if l.slow > 7*time.Second {
		t.Errorf("an answer took %s", l.slow)
	}
}

func (s *system) drainWorker(t *testing.T) {
	l := s.during("drain", func() {
		time.Sleep(300 * time.Millisecond)
		s.workers[0].Signal(syscall.SIGTERM)
		if status, err := s.workers[0].Wait(10 * time.Second); status != 0 || err != nil {
			t.Errorf("status %d, %v", status, err)
		}
	})
	s.judge(t, "drain", l)
}

func (s *system) drainAPI(t *testing.T) {
	a := s.apis[1]
	a.Signal(syscall.SIGTERM)
	fixture.Eventually(t, time.Second, "not ready", func() error {
		if code, _, _ := get(a, "/readyz"); code != http.StatusServiceUnavailable {
			return fmt.Errorf("readyz is %d", code)
		}
		return nil
	})
	if outcome, _ := post(a, "drain-api", "1"); outcome != "accepted" {
		t.Errorf("while it drains: %s", outcome)
	}
	if status, err := a.Wait(10 * time.Second); status != 0 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
}

func TestUsage(t *testing.T) {
	for _, name := range []string{"api", "worker", "nats-exporter"} {
		run := func(want int, args ...string) string {
			t.Helper()
			cmd := exec.Command(filepath.Join(bin, name), args...)
			cmd.Env = append(os.Environ(), "SEATRIAL_LOG_LEVEL=loud")
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != want {
				t.Errorf("%s %v: status %d, %s", name, args, got, out)
			}
			return string(out)
		}
		if out := run(0, "--help"); !strings.Contains(out, "SEATRIAL_LOG_LEVEL") {
			t.Errorf("%s --help: %s", name, out)
		}
		if out := run(0, "--version"); !strings.HasPrefix(out, name+" ") {
			t.Errorf("%s --version: %s", name, out)
		}
		run(2, "--nonsense")
		run(2, "stray")
		if out := run(2); !strings.Contains(out, `SEATRIAL_LOG_LEVEL: want debug, info, warn or error, got "loud"`) {
			t.Errorf("%s: %s", name, out)
		}
	}
}
