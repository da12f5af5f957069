package kube

import (
	"strings"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"

	"seatrial/experiments"
)

// Whether a kernel can do a fault, nobody can be asked: it has to be tried, which Probe
// does. What a node's kernel could or could not do once in a run, it is not asked to do again.

// task is what a node's kernel is asked to do.
type task struct{ discipline, node string }

func (k task) String() string { return k.discipline + " on " + k.node }

// discipline is the queueing discipline of the kernel that an experiment takes; "" for
// what every kernel with Chaos Mesh can.
func discipline(r *experiments.Resolution) string {
	chaos, ok := r.Object.(*v1alpha1.NetworkChaos)
	switch {
	case !ok || chaos.Spec.Action == v1alpha1.PartitionAction:
		return ""
	case chaos.Spec.Action == v1alpha1.BandwidthAction:
		return "tbf"
	}
	return "netem"
}

// ruled are the pods in whose network an experiment sets rules: those that send what it
// is about.
func ruled(r *experiments.Resolution) []experiments.Pod {
	chaos, ok := r.Object.(*v1alpha1.NetworkChaos)
	switch {
	case !ok:
		return nil
	case chaos.Spec.Direction == v1alpha1.From:
		return r.Targets
	case chaos.Spec.Direction == v1alpha1.Both:
		return touched(r)
	}
	return r.Victims
}

// tasks are what a round asks of kernels, each once, with a pod on its node.
func tasks(r *experiments.Resolution) map[task]experiments.Pod {
	all := map[task]experiments.Pod{}
	if d := discipline(r); d != "" {
		for _, p := range ruled(r) {
			if k := (task{d, p.Node}); all[k].Name == "" {
				all[k] = p
			}
		}
	}
	return all
}

// beyondKernel says whether a message of tc's means that the kernel lacks a
// discipline, which no second attempt changes.
func beyondKernel(message string) bool {
	return strings.Contains(message, "qdisc kind is unknown")
}

// kernelCould returns an error when what a round asks of a kernel has failed before in
// this run.
func (t *Testbed) kernelCould(r *experiments.Resolution) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range inOrder(tasks(r)) {
		if message := t.kernels[k]; message != "" {
			return experiments.UnableTo("the kernel cannot do %s: Chaos Mesh said, when it was tried in this run: %s", k, message)
		}
	}
	return nil
}

// noteKernel remembers what kernels turned out to lack: every one that a round asks and
// that is not known to have it, for the messages do not tell one node from another.
func (t *Testbed) noteKernel(r *experiments.Resolution, messages []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range tasks(r) {
		if _, known := t.kernels[k]; known {
			continue
		}
		for _, m := range messages {
			if beyondKernel(m) {
				t.kernels[k] = m
			}
		}
	}
}

// unknown are the tasks of a round that no kernel was asked to do in this run.
func (t *Testbed) unknown(r *experiments.Resolution) map[task]experiments.Pod {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := tasks(r)
	for k := range all {
		if _, known := t.kernels[k]; known {
			delete(all, k)
		}
	}
	return all
}

// noteAble remembers that a kernel could do it.
func (t *Testbed) noteAble(k task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kernels[k] = ""
}
