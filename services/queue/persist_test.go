package queue

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"seatrial/services/task"
)

// errHang is a server that never answers.
var errHang = errors.New("errHang")

func TestPersistOutcome(t *testing.T) {
	for name, tc := range map[string]struct {
		answers []error // the last one repeats
		before  bool    // it may have been stored with a group
		want    error   // nil, task.ErrRefused or task.ErrUnknown
	}{
		"acknowledged at once":        {answers: []error{nil}},
		"after an election":           {answers: []error{nats.ErrNoResponders, nats.ErrNoResponders, nil}},
		"after a lost acknowledgment": {answers: []error{errHang, nil}},
		"after no connection":         {answers: []error{nats.ErrReconnectBufExceeded, nil}},
		"nobody listens":              {answers: []error{nats.ErrNoResponders}, want: task.ErrRefused},
		"never connected":             {answers: []error{nats.ErrReconnectBufExceeded}, want: task.ErrRefused},
		"nobody answers":              {answers: []error{errHang}, want: task.ErrUnknown},
		"one attempt hung":            {answers: []error{nats.ErrNoResponders, errHang, nats.ErrNoResponders}, want: task.ErrUnknown},
		"cut after it was sent":       {answers: []error{nats.ErrDisconnected, nats.ErrReconnectBufExceeded}, want: task.ErrUnknown},
		"a group was not answered":    {answers: []error{nats.ErrNoResponders}, before: true, want: task.ErrUnknown},
		"an answer we do not know":    {answers: []error{errors.New("10158"), nats.ErrNoResponders}, want: task.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				defer cancel()
				n := 0
				err := persist(ctx, tc.before, func(ctx context.Context) error {
					answer := tc.answers[min(n, len(tc.answers)-1)]
					n++
					if answer == errHang {
						<-ctx.Done()
						return ctx.Err()
					}
					return answer
				})
				if !errors.Is(err, tc.want) || tc.want == nil && err != nil {
					t.Fatalf("got %v after %d attempts, want %v", err, n, tc.want)
				}
				if left := time.Until(deadlineOf(ctx)); tc.want != nil && (left < 0 || left > time.Second) {
					t.Errorf("gave up with %s left", left)
				}
			})
		})
	}
}

func TestJudge(t *testing.T) {
	for answer, want := range map[string]bool{
		`{"stream":"TASKS","seq":7}`:                      true,
		`{"stream":"TASKS", "seq":7,"duplicate": true}`:   true,
		`{"stream":"TASKS", "seq":0,"duplicate": true}`:   false, // nats-server 2.10, without a majority
		`{"error":{"code":503,"err_code":10077},"seq":0}`: false,
		`{"stream":"","seq":7,"duplicate":true}`:          false,
		`{"error":{"code":409},"stream":"TASKS","seq":0}`: false,
		`+OK`: false,
		``:    false,
	} {
		err := judge([]byte(answer))
		if (err == nil) != want || err != nil && neverStored(err) {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

func deadlineOf(ctx context.Context) time.Time { d, _ := ctx.Deadline(); return d }

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := NewGate(quiet())
		var down atomic.Bool
		var probes, moves atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			g.Watch(ctx, func(ctx context.Context) error {
				probes.Add(1)
				if down.Load() {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}, func() { moves.Add(1) })
		}()
		step := func(d time.Duration, want bool, when string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if g.Open() != want {
				t.Errorf("%s: open is %v", when, !want)
			}
		}
		if g.Open() {
			t.Error("open before anything was stored")
		}
		step(10*time.Millisecond, true, "after the first probe")
		step(time.Minute, true, "while probes pass")
		if moves.Load() != 0 {
			t.Error("left a server that stored everything")
		}
		down.Store(true)
		step(time.Second, true, "during an election")
		step(2*time.Second, false, "when nothing was stored for long")
		g.Passed()
		step(0, true, "when a task was stored")
		step(5*time.Second, false, "when that was long ago")
		if n := moves.Load(); n != 1 {
			t.Errorf("%d other servers tried in the five seconds after the last proof, want 1", n)
		}
		down.Store(false)
		step(1500*time.Millisecond, true, "soon after recovery")
		before := probes.Load()
		for range 100 {
			g.Passed()
			time.Sleep(100 * time.Millisecond)
		}
		if extra := probes.Load() - before; extra > 1 {
			t.Errorf("%d probes while tasks were stored all the time", extra)
		}
		cancel()
		<-done
	})
}

func TestTokenAndHeaderSafe(t *testing.T) {
	if got := token("api-0.seatrial*"); got != "api-0-seatrial-" {
		t.Errorf("token: %q", got)
	}
	if got := headerSafe("a\r\nInjected: b"); got != "a  Injected: b" {
		t.Errorf("headerSafe: %q", got)
	}
}
