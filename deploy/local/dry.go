//go:build linux

package local

import (
	"seatrial/deploy/local/chaos"
	"seatrial/experiments"
)

// Pods describes the pods that a testbed would have, as selectors see them when
// all of it runs. Nothing is started.
func Pods(cfg Config) []experiments.Pod {
	t := &Testbed{cfg: cfg}
	var all []experiments.Pod
	for _, spec := range t.plan() {
		all = append(all, chaos.Describe(spec, Namespace))
		all[len(all)-1].Phase = "Running"
	}
	return all
}

// Draw draws an experiment's victims as Prepare would on a testbed that is whole:
// a resolution a repetition. Nothing is started.
func Draw(cfg Config, e *experiments.Experiment, pick []string, seed int64) ([]*experiments.Resolution, error) {
	return chaos.Draw(e, Pods(cfg), pick, seed)
}
