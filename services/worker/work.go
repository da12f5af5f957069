package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"seatrial/services/task"
)

// Work does what a Task asks for and returns its result. It must be
// deterministic: an error means that it will fail again, and after some
// deliveries the Task is given up. It may run more than once for a Task; only
// one result is recorded. When ctx ends it returns ctx's error.
type Work func(ctx context.Context, payload json.RawMessage) (string, error)

// works are the kinds of work that can be configured.
var works = map[string]func(Config) Work{
	"hash":  func(c Config) Work { return hashWork(c.Rounds) },
	"sleep": func(c Config) Work { return sleepWork(c.Time) },
	"cpu":   func(c Config) Work { return cpuWork(c.Time) },
}

var errPoison = errors.New("the payload is poison")

// errPanic marks what a panic of the work was turned into.
var errPanic = errors.New("the work panicked")

// NewWork returns the configured work. Config must have no Problems.
func NewWork(c Config) Work { return works[c.Kind](c) }

// safely runs work: a poisonous payload and a panic are errors.
func safely(ctx context.Context, work Work, payload json.RawMessage) (result string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	if task.Poison(payload) {
		return "", errPoison
	}
	return work(ctx, payload)
}

// hashWork hashes the payload rounds times.
func hashWork(rounds int) Work {
	return func(_ context.Context, payload json.RawMessage) (string, error) {
		sum := sha256.Sum256(payload)
		for range rounds - 1 {
			sum = sha256.Sum256(sum[:])
		}
		return digest(sum), nil
	}
}

// sleepWork waits, as for a slow partner.
func sleepWork(d time.Duration) Work {
	return func(ctx context.Context, payload json.RawMessage) (string, error) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return digest(sha256.Sum256(payload)), nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// cpuWork computes for a time.
func cpuWork(d time.Duration) Work {
	return func(ctx context.Context, payload json.RawMessage) (string, error) {
		first := sha256.Sum256(payload)
		for sum, end := first, time.Now().Add(d); time.Now().Before(end); {
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			for range 100 {
				sum = sha256.Sum256(sum[:])
			}
		}
		return digest(first), nil
	}
}

func digest(sum [sha256.Size]byte) string { return hex.EncodeToString(sum[:8]) }
