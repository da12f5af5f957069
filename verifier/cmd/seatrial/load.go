package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"seatrial/loadgen/control"
	"seatrial/loadgen/fleet"
	"seatrial/loadgen/profile"
	"seatrial/verifier/evidence"
	"seatrial/verifier/trial"
)

// findGenerators returns the URLs of the load generators' control APIs, such as
// http://127.0.0.1:8090, at least one. It is asked before each load: pods come and go
// between trials. On Kubernetes these are the ready endpoints of the headless Service
// loadgen (deploy/charts/loadgen, port 8090), each pod by its own address, never the
// Service's name, which would reach one of them by chance.
type findGenerators func(ctx context.Context) ([]string, error)

// at finds load generators whose addresses are known and stay.
func at(urls ...string) findGenerators {
	return func(context.Context) ([]string, error) { return urls, nil }
}

// loader drives the testbed's load generators, each with its share of the rate; it
// satisfies trial.Load. A generator that is gone is an error of Status, Stop and
// Save, which makes the trial inconclusive.
type loader struct {
	find   findGenerators
	http   *http.Client
	target string       // URL that is sent tasks, as the load generators reach it
	fleet  *fleet.Fleet // of the load that runs, or ran last
}

// newLoader returns a loader that reaches the load generators through transport.
func newLoader(find findGenerators, target string, transport http.RoundTripper) *loader {
	return &loader{find: find, http: &http.Client{Transport: transport}, target: target}
}

func (l *loader) Start(ctx context.Context, spec trial.LoadSpec) error {
	l.fleet = nil
	urls, err := l.find(ctx)
	if err != nil {
		return fmt.Errorf("find the load generators: %w", err)
	}
	f, err := fleet.New(urls, l.http)
	if err != nil {
		return err
	}
	l.fleet = f
	return f.Start(ctx, control.Spec{
		ID: spec.Prefix, Prefix: spec.Prefix, Target: l.target, Seed: spec.Seed, Profile: profileOf(spec),
		Timeout: profile.Duration(spec.Timeout), RepeatRatio: spec.RepeatRatio, PayloadBytes: payloadBytes,
	})
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

// errNoLoad is for whoever asks about a load that no load generator was told of.
var errNoLoad = errors.New("no load was started")

func (l *loader) Status(ctx context.Context) (trial.LoadStatus, error) {
	if l.fleet == nil {
		return trial.LoadStatus{}, errNoLoad
	}
	s, err := l.fleet.Status(ctx)
	if err != nil {
		return trial.LoadStatus{}, err
	}
	return trial.LoadStatus{
		AskedRate: s.AskedRate, AchievedRate: s.AchievedRate, Sent: s.Sent,
		Accepted: s.Outcomes.Accepted, Refused: s.Outcomes.Refused, Unknown: s.Outcomes.Unknown,
		InFlight: s.InFlight,
	}, nil
}

func (l *loader) Stop(ctx context.Context) error {
	if l.fleet == nil {
		return errNoLoad
	}
	_, err := l.fleet.Stop(ctx)
	return err
}

// saved is which of the load generators' files go where in the Evidence.
var saved = map[control.File]string{
	control.History: evidence.HistoryFile, control.Results: "results.bin",
	control.Report: "vegeta.txt", control.HDR: "hdr.txt", control.Plot: "plot.html",
}

func (l *loader) Save(ctx context.Context, dir evidence.Dir) error {
	if l.fleet == nil {
		return errNoLoad
	}
	files := fleet.Files{}
	for file, name := range saved {
		files[file] = dir.Path(name)
	}
	return l.fleet.Save(ctx, files)
}
