package kube

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"

	"seatrial/experiments"
)

// delayOf is an experiment that asks the kernel for netem.
func delayOf(t *testing.T) *experiments.Experiment {
	t.Helper()
	e, err := experiments.Embedded().Get("nats-partition")
	if err != nil {
		t.Fatal(err)
	}
	delay := *e
	delay.Victims = ""
	chaos := e.Object.DeepCopyObject().(*v1alpha1.NetworkChaos)
	chaos.Spec.Action, chaos.Spec.Delay = v1alpha1.DelayAction, &v1alpha1.DelaySpec{Latency: "10ms"}
	delay.Object, delay.Action = chaos, string(v1alpha1.DelayAction)
	return &delay
}

// TestAProbeAsksTheKernelBeforeThereIsLoad, once a run, and leaves nothing.
func TestAProbeAsksTheKernelBeforeThereIsLoad(t *testing.T) {
	c := newCluster(t)
	f, err := c.bed.Prepare(t.Context(), delayOf(t), nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	created := c.mesh.created()
	if len(created) != 1 {
		t.Fatalf("%d objects, want one probe", len(created))
	}
	probe := created[0].(*v1alpha1.NetworkChaos).Spec
	if probe.Delay.Latency != "1ms" || len(probe.Selector.Pods[c.ns]) != 1 || len(probe.Target.Selector.Pods[c.ns]) != 1 {
		t.Errorf("the probe is %+v", probe)
	}
	if f.Account() != "" {
		t.Errorf("the probe is taken for the fault: %s", f.Account())
	}
	c.noResidue(t, f)
}

func TestAProbeOfAKernelThatCannot(t *testing.T) {
	c := newCluster(t)
	c.mesh.set(func() { c.mesh.refuses = "Error: Specified qdisc kind is unknown." })
	c.bed.injectWithin = time.Minute // what the kernel cannot, it is not waited for
	f, err := c.bed.Prepare(t.Context(), delayOf(t), nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	err = f.Probe(t.Context())
	if unable := new(experiments.Unable); !errors.As(err, &unable) || !strings.Contains(err.Error(), "whether the kernel can do netem on node: ") || !strings.Contains(err.Error(), "Specified qdisc kind is unknown") {
		t.Errorf("probe: %v", err)
	}
	if took := time.Since(begun); took > 40*time.Second {
		t.Errorf("it took %v", took)
	}
	c.noResidue(t, f)
	if _, err := c.bed.Prepare(t.Context(), delayOf(t), nil, 1); err == nil || !strings.Contains(err.Error(), "the kernel cannot do netem on node: ") {
		t.Errorf("it is asked again: %v", err)
	}
	partition := c.prepare(t, "nats-partition", time.Minute)
	if err := partition.Probe(t.Context()); err != nil || len(c.mesh.created()) != 1 {
		t.Errorf("a partition asks nothing of the kernel: %v, %d objects", err, len(c.mesh.created()))
	}
}

// TestWhatTheKernelCannotDo: the error has Chaos Mesh's words, and what was begun
// is taken back without force.
func TestWhatTheKernelCannotDo(t *testing.T) {
	c := newCluster(t)
	c.mesh.set(func() { c.mesh.refuses = "Error: Specified qdisc kind is unknown." })
	delay := delayOf(t)
	f, err := c.bed.Prepare(t.Context(), delay, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	err = f.Inject(t.Context())
	if err == nil || !strings.Contains(err.Error(), "Specified qdisc kind is unknown") || !strings.Contains(err.Error(), "injected 0 of 3") {
		t.Fatalf("inject: %v", err)
	}
	if unable := new(experiments.Unable); !errors.As(err, &unable) {
		t.Errorf("it is not told that this testbed cannot do it: %v", err)
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.noResidue(t, f)
	if strings.Contains(f.Account(), "force") {
		t.Errorf("account: %s", f.Account())
	}
	if _, err := c.bed.Prepare(t.Context(), delay, nil, 1); err == nil || !strings.Contains(err.Error(), "the kernel cannot do netem on node: ") {
		t.Errorf("what failed is tried again: %v", err)
	}
	// A partition asks for no netem: what somebody else's rules met with is not its end.
	f = c.prepare(t, "nats-partition", time.Minute)
	err = f.Inject(t.Context())
	if unable := new(experiments.Unable); err == nil || errors.As(err, &unable) {
		t.Errorf("a partition that could not be injected: %v", err)
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestRulesThatFailWhenTheFaultIsGivenUp: the kernel's first word ends the injection while
// Chaos Mesh has not come to every pod. Those whose turn comes then need no force either.
func TestRulesThatFailWhenTheFaultIsGivenUp(t *testing.T) {
	c := newCluster(t)
	c.mesh.set(func() { c.mesh.refuses, c.mesh.slow = "Error: Specified qdisc kind is unknown.", true })
	c.bed.injectWithin, c.bed.recoverWithin = time.Minute, time.Minute
	f, err := c.bed.Prepare(t.Context(), delayOf(t), nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Inject(t.Context()); err == nil {
		t.Fatal("it is in force")
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.noResidue(t, f)
	if strings.Contains(f.Account(), "force") {
		t.Errorf("account: %s", f.Account())
	}
}
