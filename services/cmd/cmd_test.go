// Package cmd_test runs the commands as processes, on real servers, and kills
// what they depend on. It judges them by what their clients were told.
package cmd_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// system is everything, running.
type system struct {
	nats    *fixture.NATS
	valkey  *fixture.Valkey
	apis    []*fixture.Server
	workers []*fixture.Server
}

// start runs two APIs and two workers with the settings given, on real servers.
func start(t testing.TB, settings ...string) *system {
	t.Helper()
	s := &system{nats: fixture.StartNATS(t), valkey: fixture.StartValkey(t)}
	ports := fixture.FreePorts(t, 4)
	common := []string{
		"SEATRIAL_NATS_URLS=" + strings.Join(s.nats.URLs(), ","),
		"SEATRIAL_VALKEY_SENTINELS=" + strings.Join(s.valkey.Addresses(), ","),
		"SEATRIAL_WORKER_RETRY_DELAY=50ms", "SEATRIAL_DRAIN_DELAY=500ms",
	}
	common = append(common, settings...)
	for i := range 2 {
		addr := fmt.Sprintf("127.0.0.1:%d", ports[i])
		s.apis = append(s.apis, fixture.NewServer(t, filepath.Join(bin, "api"), addr,
			slices.Concat(common, []string{"SEATRIAL_API_LISTEN=" + addr, fmt.Sprintf("SEATRIAL_POD=api-%d", i)})...))
		addr = fmt.Sprintf("127.0.0.1:%d", ports[2+i])
		s.workers = append(s.workers, fixture.NewServer(t, filepath.Join(bin, "worker"), addr,
			slices.Concat(common, []string{"SEATRIAL_WORKER_LISTEN=" + addr, fmt.Sprintf("SEATRIAL_POD=worker-%d", i)})...))
	}
	for _, p := range append(s.apis, s.workers...) {
		p.Start()
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s:\n%.6000s", p.Addr, p.Log())
			}
		})
	}
	for _, p := range append(s.apis, s.workers...) {
		s.ready(t, p)
	}
	return s
}

func (s *system) ready(t testing.TB, p *fixture.Server) {
	t.Helper()
	fixture.Eventually(t, 20*time.Second, p.Addr+" ready", func() error {
		code, body, err := get(p, "/readyz")
		if err == nil && code != http.StatusOK {
			err = errors.New(body)
		}
		return err
	})
}

var client = &http.Client{Timeout: 8 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

func get(p *fixture.Server, path string) (int, string, error) {
	resp, err := client.Get("http://" + p.Addr + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// post submits one task and returns its outcome, as the header says.
func post(p *fixture.Server, id, payload string) (outcome string, code int) {
	body := fmt.Sprintf(`{"payload":%s,"id":%q}`, payload, id)
	resp, err := client.Post("http://"+p.Addr+"/task", "application/json", strings.NewReader(body))
	if err != nil {
		return "unknown", 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.Header.Get("Task-Outcome"), resp.StatusCode
}

// ledger is what clients were told, by id.
type ledger struct {
	mu   sync.Mutex
	told map[string]string
	slow time.Duration // the longest answer
}

// load posts tasks to both APIs from n clients until stop is closed.
func (s *system) load(prefix string, n int, stop <-chan struct{}) *ledger {
	l := &ledger{told: map[string]string{}}
	var clients sync.WaitGroup
	for c := range n {
		clients.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("%s-%d-%d", prefix, c, i)
				began := time.Now()
				outcome, _ := post(s.apis[(c+i)%2], id, `{"n":1}`)
				l.mu.Lock()
				l.told[id] = outcome
				l.slow = max(l.slow, time.Since(began))
				l.mu.Unlock()
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	clients.Wait()
	return l
}

// during posts tasks while do runs.
func (s *system) during(prefix string, do func()) *ledger {
	stop, out := make(chan struct{}), make(chan *ledger, 1)
	go func() { out <- s.load(prefix, 8, stop) }()
	do()
	close(stop)
	return <-out
}

type line struct {
	ID      string `json:"id"`
	Status  string `json:"status"`
	Effects int    `json:"effects"`
	End     bool   `json:"end"`
	Count   int    `json:"count"`
}

// export reads what is recorded, and refuses a stream that was cut.
func (s *system) export(prefix string) (map[string]line, error) {
	code, body, err := get(s.apis[0], "/tasks?prefix="+prefix)
	if err != nil || code != http.StatusOK {
		return nil, fmt.Errorf("%d %s %w", code, body, err)
	}
	out, ended := map[string]line{}, false
	for scan := bufio.NewScanner(strings.NewReader(body)); scan.Scan(); {
		var l line
		if err := json.Unmarshal(scan.Bytes(), &l); err != nil {
			return nil, err
		}
		if ended = l.End; ended {
			if l.Count != len(out) {
				return nil, fmt.Errorf("the last line counts %d of %d", l.Count, len(out))
			}
			continue
		}
		out[l.ID] = l
	}
	if !ended {
		return nil, errors.New("cut: no last line")
	}
	return out, nil
}

// judge waits until everything accepted is done, and then compares.
func (s *system) judge(t *testing.T, prefix string, l *ledger) {
	t.Helper()
	fixture.Eventually(t, 40*time.Second, "everything accepted is done", func() error {
		done, err := s.export(prefix + "-")
		if err != nil {
			return err
		}
		for id, outcome := range l.told {
			if outcome == "accepted" && done[id].Status != "done" {
				return fmt.Errorf("%s is not done; %d of %d tasks are", id, len(done), len(l.told))
			}
		}
		return nil
	})
	done, err := s.export(prefix + "-")
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for id, outcome := range l.told {
		count[outcome]++
		switch got := done[id].Effects; {
		case outcome == "accepted" && got != 1, outcome == "refused" && got != 0, got > 1:
			t.Errorf("%s was %s and has %d effects", id, outcome, got)
		}
	}
	t.Logf("%s: %v, the slowest answer took %s", prefix, count, l.slow.Round(time.Millisecond))
	if count["accepted"] == 0 || len(count) > 3 || count[""] > 0 {
		t.Errorf("outcomes: %v", count)
	}
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
	l := s.during("nats", func() {
		time.Sleep(500 * time.Millisecond)
		s.nats.Servers[0].Kill()
		s.nats.Servers[1].Kill()
		fixture.Eventually(t, 10*time.Second, "a definite no", func() error {
			if outcome, _ := post(s.apis[0], fmt.Sprint("refused-", time.Now().UnixNano()), "1"); outcome != "refused" {
				return errors.New(outcome)
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
	s.judge(t, "nats", l)
	if l.slow > 7*time.Second {
		t.Errorf("an answer took %s", l.slow)
	}
	if done, err := s.export("refused-"); err != nil || len(done) != 0 {
		t.Errorf("refused but done: %v, %v", done, err)
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
