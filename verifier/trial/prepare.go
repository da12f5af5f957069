package trial

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"seatrial/experiments"
	"seatrial/verifier/evidence"
)

// prepare draws an experiment's victims, finds out whether it can be injected, and proves
// that it is not in force yet.
func (r *run) prepare(ctx context.Context, e *experiments.Experiment) error {
	pick, err := r.pick(ctx, e.Victims)
	if err != nil {
		return err
	}
	f, err := r.Testbed.Prepare(ctx, e, pick, r.Plan.Seed)
	if err != nil {
		return fmt.Errorf("not injected: %w", err)
	}
	l := &life{fault: f, exp: e}
	r.faults = append(r.faults, l)
	r.rec.Victims = append(r.rec.Victims, f.Victims()...)
	if err := r.saveManifest(l); err != nil {
		return err
	}
	if p, ok := f.(Prober); ok {
		if err := p.Probe(ctx); err != nil {
			return fmt.Errorf("not injected: %w", err)
		}
	}
	return until(ctx, falseWithin, func() error { return r.signatureFalse(ctx, l) })
}

// pick asks Prometheus which pods an experiment is after, where labels cannot say it.
func (r *run) pick(ctx context.Context, query string) ([]string, error) {
	if query == "" {
		return nil, nil
	}
	vector, err := r.Metrics.Vector(ctx, query, time.Now())
	if err != nil {
		return nil, fmt.Errorf("ask for victims: %w", err)
	}
	var pods []string
	for _, s := range vector {
		if pod := s.Labels["pod"]; pod != "" && !slices.Contains(pods, pod) {
			pods = append(pods, pod)
		}
	}
	if len(pods) == 0 {
		return nil, fmt.Errorf("no pod answers the victims query %s", query)
	}
	slices.Sort(pods)
	return pods, nil
}

func (r *run) saveManifest(l *life) error {
	dir := r.Dir.Path(evidence.ManifestsDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, l.exp.Name+".yaml"), l.fault.Manifest(), 0o644)
}
