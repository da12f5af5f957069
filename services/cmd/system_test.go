package cmd_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"seatrial/services/fixture"
)

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
