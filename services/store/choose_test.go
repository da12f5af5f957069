package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/valkey-io/valkey-go"
)

func TestChoose(t *testing.T) {
	for name, tc := range map[string]struct {
		answers []answer
		current string
		seen    int64
		want    string
	}{
		"nobody answers":                   {answers: make([]answer, 3), current: "a", want: ""},
		"all agree":                        {answers: []answer{{"a", 0}, {"a", 0}, {"a", 0}}, want: "a"},
		"one of three answers":             {answers: []answer{{}, {"b", 4}, {}}, current: "a", want: "b"},
		"an isolated sentinel is behind":   {answers: []answer{{"old", 1}, {"new", 2}, {"new", 2}}, current: "old", want: "new"},
		"the first to know is believed":    {answers: []answer{{"old", 1}, {"old", 1}, {"new", 2}}, current: "old", want: "new"},
		"only the isolated one answers":    {answers: []answer{{"old", 1}, {}, {}}, current: "new", seen: 2, want: ""},
		"all sentinels are new":            {answers: []answer{{"a", 0}, {"a", 0}, {}}, current: "b", seen: 7, want: "a"},
		"same epoch, more votes":           {answers: []answer{{"a", 3}, {"b", 3}, {"b", 3}}, current: "a", want: "b"},
		"same epoch, as many: no change":   {answers: []answer{{"a", 3}, {"b", 3}}, current: "b", want: "b"},
		"same epoch, none of them is ours": {answers: []answer{{"b", 3}, {"a", 3}}, current: "c", want: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // maps are iterated in any order
				if got, _ := choose(tc.answers, tc.current, tc.seen); got != tc.want {
					t.Fatalf("got %q, want %q", got, tc.want)
				}
			}
		})
	}
}

func TestKind(t *testing.T) {
	for want, err := range map[string]error{
		"unreplicated": fmt.Errorf("record: %w", ErrUnreplicated),
		"timeout":      fmt.Errorf("record: %w", context.DeadlineExceeded),
		"connection":   errors.New("EOF"),
	} {
		if got := Kind(err); got != want {
			t.Errorf("Kind(%v) = %s, want %s", err, got, want)
		}
	}
	if got := Kind(valkey.Nil); got != "valkey" {
		t.Errorf("Kind(nil answer) = %s", got)
	}
}

func TestMicros(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 123456000, time.UTC)
	if got := fromMicros(micros(at)); !got.Equal(at) {
		t.Errorf("got %s", got)
	}
	if !fromMicros("").IsZero() {
		t.Error("no time is not the zero time")
	}
}

func TestConfigProblems(t *testing.T) {
	bad := Config{Sentinels: []string{"no-port"}, Replicas: 9}
	if got := bad.Problems(); len(got) != 3 {
		t.Errorf("want three problems, got %q", got)
	}
	if got := (Config{Sentinels: []string{"a:1"}, Master: "m", Replicas: 1}).Problems(); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}
