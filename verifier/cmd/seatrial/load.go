package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"seatrial/loadgen/control"
	"seatrial/loadgen/profile"
	"seatrial/verifier/evidence"
	"seatrial/verifier/trial"
)

// loader drives the testbed's load generator; it satisfies trial.Load.
type loader struct {
	client *control.Client
	target string // URL that is sent tasks
	id     string // of the attack that runs, or ran last
}

func newLoader(url, target string, transport http.RoundTripper) *loader {
	return &loader{client: control.NewClient(url, &http.Client{Transport: transport}), target: target}
}

func (l *loader) Start(ctx context.Context, spec trial.LoadSpec) error {
	l.id = spec.Prefix
	_, err := l.client.Start(ctx, control.Spec{
		ID: spec.Prefix, Prefix: spec.Prefix, Target: l.target, Seed: spec.Seed, Profile: profileOf(spec),
		Timeout: profile.Duration(spec.Timeout), RepeatRatio: spec.RepeatRatio, PayloadBytes: payloadBytes,
	})
	return err
}

// payloadBytes is the size of a task's payload: a small order, not a file.
const payloadBytes = 256

// spikeAfter and spikeFor say when a spike comes: in the fault window of a
// trial with windows of common length.
const (
	spikeAfter = 10 * time.Second
	spikeFor   = 10 * time.Second
	rampFor    = 30 * time.Second // then the rate stays
)

// profileOf is the load generator's profile for a plan's load.
func profileOf(spec trial.LoadSpec) profile.Config {
	c := profile.Config{Kind: spec.Profile, Duration: profile.Duration(spec.Duration)}
	switch spec.Profile {
	case profile.Ramp:
		c.From, c.To, c.Over = spec.Rate, spec.Peak, profile.Duration(rampFor)
	case profile.Spike:
		c.Base, c.Peak = spec.Rate, spec.Peak
		c.At, c.For = profile.Duration(spikeAfter), profile.Duration(spikeFor)
	default:
		c.Rate = spec.Rate
	}
	return c
}

func (l *loader) Status(ctx context.Context) (trial.LoadStatus, error) {
	s, err := l.client.Status(ctx, l.id)
	if err != nil {
		return trial.LoadStatus{}, err
	}
	if s.State == control.Failed {
		return trial.LoadStatus{}, fmt.Errorf("the load generator ended the load: %s", s.Error)
	}
	return trial.LoadStatus{
		AskedRate: s.AskedRate, AchievedRate: s.AchievedRate, Sent: s.Sent,
		Accepted: s.Outcomes.Accepted, Refused: s.Outcomes.Refused, Unknown: s.Outcomes.Unknown,
	}, nil
}

func (l *loader) Stop(ctx context.Context) error {
	_, err := l.client.Stop(ctx, l.id)
	return err
}

// saved is which of the load generator's files go where in the Evidence.
var saved = map[control.File]string{
	control.History: evidence.HistoryFile, control.Results: "results.bin",
	control.Report: "vegeta.txt", control.HDR: "hdr.txt", control.Plot: "plot.html",
}

func (l *loader) Save(ctx context.Context, dir evidence.Dir) error {
	var errs []error
	for from, to := range saved {
		errs = append(errs, l.save(ctx, from, dir.Path(to)))
	}
	return errors.Join(errs...)
}

func (l *loader) save(ctx context.Context, from control.File, to string) error {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	return errors.Join(l.client.Copy(ctx, l.id, from, f), f.Close())
}
