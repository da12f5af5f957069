package attack

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"seatrial/loadgen/profile"
)

func TestTaskBodies(t *testing.T) {
	for _, payload := range []int{0, 1, 300, MaxPayload} {
		s := newTaskSource(Tasks{Prefix: "p-1", Seed: 9, Payload: payload})
		for _, n := range []uint64{0, 9, 10, 99, 100, math.MaxUint64} {
			body := s.body(n)
			var task map[string]string
			if err := json.Unmarshal(body, &task); err != nil || len(task) != 2 {
				t.Fatalf("body of task %d: %v", n, err)
			}
			if len(task["payload"]) != payload || len(body) != s.size(n) || !strings.HasPrefix(task["id"], "p-1-") {
				t.Errorf("task %d: id %s, payload of %d bytes, body of %d, size says %d", n, task["id"], len(task["payload"]), len(body), s.size(n))
			}
			if string(body) != string(s.body(n)) {
				t.Errorf("task %d has two bodies", n)
			}
		}
	}
	a, b := newTaskSource(Tasks{Seed: 1, Payload: 50}), newTaskSource(Tasks{Seed: 2, Payload: 50})
	if string(a.body(0)) == string(b.body(0)) || string(a.body(1)[12:]) == string(a.body(2)[12:]) {
		t.Error("payloads of other seeds or tasks are equal")
	}
}

// Repeats name a task that was sent before, and never one that is itself a repeat.
func TestRepeats(t *testing.T) {
	for _, ratio := range []float64{0, 0.05, 0.5, 0.99} {
		s := newTaskSource(Tasks{Seed: 5, Repeat: ratio})
		const hits = 50_000
		repeats := 0
		for hit := range uint64(hits) {
			n := s.number(hit)
			if n > hit {
				t.Fatalf("ratio %v: hit %d sends task %d", ratio, hit, n)
			}
			if n < hit {
				repeats++
				if s.number(n) != n {
					t.Fatalf("ratio %v: hit %d repeats %d, which is a repeat", ratio, hit, n)
				}
			}
		}
		if got := float64(repeats) / hits; math.Abs(got-ratio) > 0.01 {
			t.Errorf("ratio %v: %v of the hits repeat", ratio, got)
		}
	}
}

func TestTasksValidateNamesEveryMistake(t *testing.T) {
	err := Tasks{URL: "ftp://x", Prefix: "a b", Payload: -1, Repeat: 1}.Validate()
	var got []string
	mistakes, _ := err.(profile.Mistakes)
	for _, m := range mistakes {
		got = append(got, m.Field)
	}
	if want := []string{"target", "prefix", "payload_bytes", "repeat_ratio"}; !slices.Equal(got, want) {
		t.Errorf("mistakes in %v, want %v", got, want)
	}
	if err := (Tasks{URL: "http://x/task", Prefix: "a", Repeat: math.NaN()}).Validate(); err == nil {
		t.Error("a ratio that is no number is accepted")
	}
	if err := (Tasks{URL: "http://x/task", Prefix: "a"}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestFixedRefuses(t *testing.T) {
	if _, err := Fixed("f", nil); err == nil {
		t.Error("no targets are accepted")
	}
	if _, err := Fixed("f", []vegeta.Target{{Method: "GET", URL: "http://x"}, {Method: "GET", URL: "/x"}}); err == nil || !strings.Contains(err.Error(), "target 2") {
		t.Errorf("a relative URL: %v", err)
	}
}

func TestLatenciesAreWithinOnePercent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var l Latencies
	var all []time.Duration
	for range 20_000 {
		d := time.Duration(math.Exp(rng.Float64() * 23)) // up to 10 s
		l.Add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[int(math.Ceil(q*float64(len(all))))-1]
		if got := l.Quantile(q); got < want || float64(got) > float64(want)*1.01 {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	l.Add(-time.Second)
	l.Add(math.MaxInt64)
	if l.Quantile(1) != math.MaxInt64 || l.Quantile(0) < 0 {
		t.Error("extremes are lost")
	}
	if (&Latencies{}).Quantiles() != (Quantiles{}) {
		t.Error("no durations have quantiles")
	}
}
