package kube

import (
	"strings"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"

	"seatrial/experiments"
)

// Whether a kernel can do a fault, nobody can be asked before it is tried; what it
// could not do once in a run, it is not asked to do again.

// kernelTask is what a kernel is asked to do for an experiment on some nodes; ""
// for what every kernel with Chaos Mesh can.
func kernelTask(r *experiments.Resolution) string {
	chaos, ok := r.Object.(*v1alpha1.NetworkChaos)
	if !ok || chaos.Spec.Action == v1alpha1.PartitionAction {
		return ""
	}
	task := "netem"
	if chaos.Spec.Action == v1alpha1.BandwidthAction {
		task = "tbf"
	}
	return task + " on " + strings.Join(nodesOf(r), ", ")
}

// beyondKernel says whether a message of tc's means that the kernel lacks a
// discipline, which no second attempt changes.
func beyondKernel(message string) bool {
	return strings.Contains(message, "qdisc kind is unknown")
}

// kernelCould returns an error when what a round asks of the kernel has failed
// before in this run.
func (t *Testbed) kernelCould(r *experiments.Resolution) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if message := t.beyond[kernelTask(r)]; message != "" {
		return experiments.UnableTo("the kernel cannot do %s: Chaos Mesh said, when it was tried in this run: %s", kernelTask(r), message)
	}
	return nil
}

// noteKernel remembers what the kernel turned out to lack.
func (t *Testbed) noteKernel(r *experiments.Resolution, messages []string) {
	task := kernelTask(r)
	if task == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range messages {
		if beyondKernel(m) {
			t.beyond[task] = m
		}
	}
}
