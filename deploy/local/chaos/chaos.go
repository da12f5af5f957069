//go:build linux

// Package chaos carries out Chaos Mesh experiments on the pods and the network
// of the local testbed, with Chaos Mesh's meaning. What it cannot do it refuses
// by name, before anything is touched.
//
// It knows no trial: whether a fault had an effect is for the system's metrics
// to say.
package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"sigs.k8s.io/yaml"

	"seatrial/deploy/local/pod"
	"seatrial/deploy/local/stress"
	"seatrial/deploy/local/vnet"
	"seatrial/experiments"
)

// Engine injects experiments into a running testbed.
type Engine struct {
	Net       *vnet.Net
	Pods      []*pod.Pod
	Namespace string
	// Self is this program, which has the hidden stressor command.
	Self string
}

// Fault is an experiment with its victims drawn. Its methods may be called from
// any goroutine.
type Fault struct {
	exp    *experiments.Experiment
	rounds []*experiments.Resolution // one, or one a repetition
	apply  func(*experiments.Resolution) (undo func() error, err error)

	mu     sync.Mutex
	undos  []func() error
	cancel context.CancelFunc
	ended  chan struct{} // closed when the clock of the fault has stopped
	failed error         // what went wrong after Inject had returned
	left   func() []string

	counts func() string // nil where nothing is counted
}

// Prepare draws an experiment's victims from the seed and checks that all of it
// can be done here. named narrows the pods that the selector matches.
func (e *Engine) Prepare(exp *experiments.Experiment, named []string, seed int64) (*Fault, error) {
	if len(exp.NeedsKubernetes) > 0 {
		return nil, experiments.UnableTo("%s %s needs kubernetes: %s", exp.Kind, exp.Action, strings.Join(exp.NeedsKubernetes, "; "))
	}
	f := &Fault{exp: exp, left: func() []string { return nil }}
	var err error
	if f.rounds, err = Draw(exp, e.describe(), named, seed); err != nil {
		return nil, err
	}
	switch object := exp.Object.(type) {
	case *v1alpha1.PodChaos:
		err = e.podChaos(f, object)
	case *v1alpha1.NetworkChaos:
		err = e.networkChaos(f, object)
	case *v1alpha1.StressChaos:
		err = e.stressChaos(f, object)
	default:
		err = experiments.UnableTo("needs kubernetes: the local testbed does not know %s", exp.Kind)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", exp.Kind, exp.Action, err)
	}
	return f, nil
}

// Draw draws an experiment's victims out of pods: a resolution a repetition.
func Draw(exp *experiments.Experiment, pods []experiments.Pod, named []string, seed int64) (rounds []*experiments.Resolution, err error) {
	rng := rand.New(rand.NewPCG(uint64(seed), hash(exp.Name)))
	for range max(1, exp.Repeat.Times) {
		round, err := exp.Resolve(pods, named, rng)
		if err != nil {
			return nil, err
		}
		rounds = append(rounds, round)
	}
	return rounds, nil
}

// hash is FNV-1a: experiments of one trial must not draw the same numbers.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range []byte(s) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

// describe shows the pods as a selector sees them.
func (e *Engine) describe() []experiments.Pod {
	var all []experiments.Pod
	for _, p := range e.Pods {
		d := Describe(p.Spec, e.Namespace)
		if p.Running() {
			d.Phase = "Running"
		}
		all = append(all, d)
	}
	return all
}

// Describe shows a pod that does not run yet as a selector sees it.
func Describe(p pod.Spec, namespace string) experiments.Pod {
	d := experiments.Pod{Name: p.Name, Namespace: namespace, Labels: p.Labels, Node: "local", IP: p.Addr, Phase: "Pending"}
	for _, c := range p.Containers {
		d.Containers = append(d.Containers, c.Name)
	}
	return d
}

func (e *Engine) pod(name string) (*pod.Pod, error) {
	for _, p := range e.Pods {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no pod is named %s", name)
}

// eachVictim applies f to the victims of a round and joins the ways back.
func (e *Engine) eachVictim(r *experiments.Resolution, f func(*pod.Pod, experiments.Pod) (func() error, error)) (func() error, error) {
	var undos []func() error
	undo := func() error { return undoAll(undos) }
	for _, v := range r.Victims {
		p, err := e.pod(v.Name)
		if err != nil {
			return undo, err
		}
		back, err := f(p, v)
		if back != nil {
			undos = append(undos, back)
		}
		if err != nil {
			return undo, err
		}
	}
	return undo, nil
}

func (e *Engine) podChaos(f *Fault, chaos *v1alpha1.PodChaos) error {
	act, ok := map[v1alpha1.PodChaosAction]func(*pod.Pod, experiments.Pod) (func() error, error){
		v1alpha1.PodKillAction: func(p *pod.Pod, _ experiments.Pod) (func() error, error) {
			p.Replace(0)
			return nil, nil
		},
		v1alpha1.ContainerKillAction: func(p *pod.Pod, v experiments.Pod) (func() error, error) {
			return nil, p.KillContainers(experiments.ContainersOf(chaos.Spec.ContainerSelector, v)...)
		},
		v1alpha1.PodFailureAction: func(p *pod.Pod, _ experiments.Pod) (func() error, error) {
			p.Hold()
			return p.Release, nil
		},
	}[chaos.Spec.Action]
	if !ok {
		return experiments.UnableTo("needs kubernetes: the local testbed does not know this action")
	}
	f.apply = func(r *experiments.Resolution) (func() error, error) { return e.eachVictim(r, act) }
	f.left = func() []string { return e.podResidue(f, (*pod.Pod).Held, "is kept down") }
	return nil
}

func (e *Engine) podResidue(f *Fault, bad func(*pod.Pod) bool, words string) (left []string) {
	for _, name := range f.Victims() {
		if p, err := e.pod(name); err == nil && bad(p) {
			left = append(left, fmt.Sprintf("pod %s %s", name, words))
		}
	}
	return left
}

func (e *Engine) networkChaos(f *Fault, chaos *v1alpha1.NetworkChaos) error {
	netem, err := experiments.NetemOf(chaos)
	if err != nil {
		return err
	}
	if _, err := f.rounds[0].Links(); err != nil {
		return err
	}
	impairment := impairmentOf(netem)
	f.apply = func(r *experiments.Resolution) (func() error, error) {
		links, err := r.Links()
		if err != nil {
			return nil, err
		}
		impaired, err := e.Net.Impair(f.exp.Name, linksOf(links), impairment)
		if err != nil {
			return nil, err
		}
		f.counts = func() string { return account(impaired.Counters()) }
		return func() error { impaired.Remove(); return nil }, nil
	}
	f.left = func() (left []string) {
		for _, name := range e.Net.Faults() {
			if name == f.exp.Name {
				left = append(left, "the switch still has "+name)
			}
		}
		return left
	}
	return nil
}

func (e *Engine) stressChaos(f *Fault, chaos *v1alpha1.StressChaos) error {
	s, err := experiments.StressOf(chaos)
	if err != nil {
		return err
	}
	if s.Options {
		return experiments.UnableTo("needs kubernetes: options of stress-ng")
	}
	f.apply = func(r *experiments.Resolution) (func() error, error) {
		return e.eachVictim(r, func(p *pod.Pod, _ experiments.Pod) (func() error, error) { return e.stress(p, s) })
	}
	f.left = func() []string {
		return e.podResidue(f, func(p *pod.Pod) bool { return p.Injected() > 0 }, "still has a stressor")
	}
	return nil
}

// stress starts a pod's stressors: one process that computes, one for each
// worker that holds memory.
func (e *Engine) stress(p *pod.Pod, s experiments.Stress) (func() error, error) {
	var undos []func() error
	undo := func() error { return undoAll(undos) }
	start := func(args []string) error {
		stop, err := p.Inject(exec.Command(e.Self, append([]string{stress.Command}, args...)...))
		if err == nil {
			undos = append(undos, func() error { stop(); return nil })
		}
		return err
	}
	if s.CPUWorkers > 0 {
		if err := start(stress.CPU(s.CPUWorkers, s.CPULoad)); err != nil {
			return undo, err
		}
	}
	bytes := s.MemoryBytes
	if s.MemoryPercent > 0 {
		bytes = int64(p.Memory) * int64(s.MemoryPercent) / 100
	}
	for range s.MemoryWorkers {
		if err := start(stress.Memory(bytes, s.OOMScoreAdj)); err != nil {
			return undo, err
		}
	}
	return undo, nil
}

func undoAll(undos []func() error) (first error) {
	for i := len(undos) - 1; i >= 0; i-- {
		if err := undos[i](); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Victims are the names of all pods that the fault is about.
func (f *Fault) Victims() []string {
	var names []string
	seen := map[string]bool{}
	for _, r := range f.rounds {
		for _, name := range r.VictimNames() {
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}

// Manifest is the object as applied: it names the victims that were drawn. A
// repeated fault has a document a repetition.
func (f *Fault) Manifest() []byte {
	var documents []string
	for _, r := range f.rounds {
		data, err := yaml.Marshal(r.Object)
		if err != nil {
			data = f.exp.Raw
		}
		documents = append(documents, string(data))
	}
	return []byte(strings.Join(documents, "---\n"))
}

// Inject carries the experiment out. It returns when the first round is done;
// further rounds, and the end of its duration, come by the clock.
func (f *Fault) Inject(ctx context.Context) error {
	if err := f.round(f.rounds[0]); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	clock, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f.cancel, f.ended = cancel, make(chan struct{})
	go f.run(clock, f.ended)
	return nil
}

// run is the fault's clock.
func (f *Fault) run(ctx context.Context, ended chan struct{}) {
	defer close(ended)
	for _, r := range f.rounds[1:] {
		if !sleep(ctx, f.exp.Repeat.Every) {
			return
		}
		if err := f.round(r); err != nil {
			f.mu.Lock()
			f.failed = err
			f.mu.Unlock()
			return
		}
	}
	if f.exp.Duration > 0 && sleep(ctx, f.exp.Duration) {
		f.undo()
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (f *Fault) round(r *experiments.Resolution) error {
	undo, err := f.apply(r)
	if undo != nil {
		f.mu.Lock()
		f.undos = append(f.undos, undo)
		f.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("%s on %s: %w", f.exp.Name, strings.Join(r.VictimNames(), ", "), err)
	}
	return nil
}

// undo takes everything back that is not taken back yet; what could not be is
// tried again by the next call.
func (f *Fault) undo() {
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := f.undos[:0]
	for _, undo := range f.undos {
		if err := undo(); err != nil {
			f.failed = err
			kept = append(kept, undo)
		}
	}
	f.undos = kept
}

// Recover ends the fault before, at or after its time. It may be called again.
func (f *Fault) Recover(context.Context) error {
	f.mu.Lock()
	cancel, ended := f.cancel, f.ended
	f.mu.Unlock()
	if cancel != nil {
		cancel()
		<-ended
	}
	f.undo()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.undos) == 0 && len(f.rounds) == 1 {
		return nil
	}
	return f.failed
}

// Account is what the switch counted of the fault; "" for other faults.
func (f *Fault) Account() string {
	if f.counts == nil {
		return ""
	}
	return f.counts()
}

// Residue says what is left of the fault.
func (f *Fault) Residue(context.Context) ([]string, error) { return f.left(), nil }
