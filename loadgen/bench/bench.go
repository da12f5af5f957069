// Package bench measures what the load generator promises: that it holds the
// asked rate, and that keeping a History costs little over Vegeta alone.
//
// It measures against a stub in a process of its own on the same cores, and
// only loopback. Importing it makes the program able to be that stub (see
// stub.go); it knows nothing of the system under trial.
package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"seatrial/loadgen/attack"
	"seatrial/loadgen/profile"
)

// What the figures are measured with.
const (
	AskedRate     = 2000             // hits per second, for AchievedRate
	AskedDuration = 30 * time.Second // of AchievedRate

	rounds        = 7               // pairs of runs of SustainedRatio
	roundDuration = 2 * time.Second // of each run
	saturation    = 64              // requests in flight that keep both cores busy
	outOfReach    = 500_000         // hits per second that no two cores send
	payload       = 256             // bytes
	patience      = 5 * time.Second
)

// AchievedRate asks for 2,000 hits/s for 30 s and returns the achieved rate as a
// share of the asked one. The History and Vegeta's results are written.
func AchievedRate(ctx context.Context) (float64, error) {
	return achieved(ctx, AskedRate, AskedDuration)
}

func achieved(ctx context.Context, rate float64, d time.Duration) (float64, error) {
	s, err := startStub()
	if err != nil {
		return 0, err
	}
	defer s.close()
	rep, err := run(ctx, s.url, rate, d, 0)
	if err != nil {
		return 0, err
	}
	return rep.Achieved, nil
}

// SustainedRatio saturates the stub in turn with Vegeta's library alone, whose
// results are thrown away, and with a load that writes its History and results. It
// returns the second rate as a share of the first: the median of seven pairs.
// Both keep the same number of requests in flight, since an open loop has no
// highest rate of its own.
func SustainedRatio(ctx context.Context) (float64, error) {
	return sustained(ctx, rounds, roundDuration)
}

func sustained(ctx context.Context, rounds int, d time.Duration) (float64, error) {
	s, err := startStub()
	if err != nil {
		return 0, err
	}
	defer s.close()
	ratios := make([]float64, 0, rounds)
	// The first pair only warms up connections and caches.
	for i := range rounds + 1 {
		ours, theirs, err := pair(ctx, s.url, d, i%2 == 0)
		if err != nil {
			return 0, err
		}
		if i > 0 {
			ratios = append(ratios, ours/theirs)
		}
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2], nil
}

// pair measures both rates, in either order, so that a drift of the machine favours neither.
func pair(ctx context.Context, url string, d time.Duration, oursFirst bool) (ours, theirs float64, err error) {
	measureOurs := func() error {
		rep, err := run(ctx, url, outOfReach, d, saturation)
		ours = float64(rep.Outcomes.Accepted) / rep.Seconds
		return err
	}
	measureTheirs := func() error {
		theirs, err = vegetaAlone(ctx, url, d)
		return err
	}
	if oursFirst {
		return ours, theirs, errors.Join(measureOurs(), measureTheirs())
	}
	err = errors.Join(measureTheirs(), measureOurs())
	return ours, theirs, err
}

// run loads url, writing everything a trial writes, and removes it again.
func run(ctx context.Context, url string, rate float64, d time.Duration, workers uint64) (attack.Report, error) {
	dir, err := os.MkdirTemp("", "seatrial-bench-")
	if err != nil {
		return attack.Report{}, fmt.Errorf("bench: %w", err)
	}
	defer os.RemoveAll(dir)
	p, err := profile.New(profile.Config{Kind: profile.Steady, Rate: rate, Duration: profile.Duration(d)})
	if err != nil {
		return attack.Report{}, err
	}
	targets, err := attack.Tasks{URL: url, Prefix: "b", Seed: 1, Payload: payload}.Targets()
	if err != nil {
		return attack.Report{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, d+patience)
	defer cancel()
	if workers > 0 {
		// A saturated load is behind its plan by design: end it on time.
		defer time.AfterFunc(d, cancel).Stop()
	}
	rep, err := attack.Run(ctx, attack.Config{Name: "bench", Profile: p, Targets: targets, Timeout: patience,
		Dir: filepath.Join(dir, "load"), MaxWorkers: workers})
	if err != nil {
		return rep, err
	}
	if rep.Outcomes.Accepted != rep.Sent {
		return rep, fmt.Errorf("bench: %d of %d requests were not accepted: %v", rep.Sent-rep.Outcomes.Accepted, rep.Sent, rep.Causes)
	}
	return rep, nil
}

// vegetaAlone returns the hits per second of Vegeta's library with its results thrown away.
func vegetaAlone(ctx context.Context, url string, d time.Duration) (float64, error) {
	body := append(append([]byte(`{"id":"b-0000000","payload":"`), make([]byte, payload)...), `"}`...)
	for i, b := range body {
		if b == 0 {
			body[i] = 'x'
		}
	}
	target := vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodPost, URL: url, Body: body,
		Header: http.Header{"Content-Type": {"application/json"}}})
	a := vegeta.NewAttacker(vegeta.Timeout(patience), vegeta.Workers(saturation), vegeta.MaxWorkers(saturation), vegeta.Redirects(vegeta.NoFollow))
	defer context.AfterFunc(ctx, func() { a.Stop() })()
	start := time.Now()
	hits := 0
	last := start
	for r := range a.Attack(target, vegeta.Rate{Freq: outOfReach, Per: time.Second}, d, "bench") {
		if r.Code != http.StatusAccepted {
			return 0, fmt.Errorf("bench: vegeta alone was answered %d %s", r.Code, r.Error)
		}
		hits++
		last = r.Timestamp
	}
	return float64(hits) / last.Sub(start).Seconds(), ctx.Err()
}
