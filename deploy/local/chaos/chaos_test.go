//go:build linux

package chaos_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"seatrial/deploy/local/chaos"
	"seatrial/deploy/local/pod"
	"seatrial/deploy/local/stress"
	"seatrial/deploy/local/vnet"
	"seatrial/experiments"
)

// TestMain lets the test's own program be the stressor, as seatrial is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == stress.Command {
		fmt.Fprintln(os.Stderr, stress.Run(os.Args[2:]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// bed is three pods of real processes in a real virtual network.
func bed(t *testing.T) *chaos.Engine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces and cgroups")
	}
	net, err := vnet.New(vnet.Config{Seed: 1})
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = net.Close() })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e := &chaos.Engine{Net: net, Namespace: "seatrial", Self: self}
	for n := range 3 {
		addr := netip.AddrFrom4([4]byte{198, 18, 0, byte(n + 1)})
		port, err := net.Attach(fmt.Sprintf("worker-%d", n), addr)
		if err != nil {
			t.Fatal(err)
		}
		spec := pod.Spec{
			Name: port.Name(), Labels: map[string]string{"app": "worker"}, Addr: addr, Memory: 128 << 20,
			Containers: []pod.Container{
				{Name: "worker", Restart: true, Command: append([]string{self, stress.Command}, stress.Memory(16<<20, 0)...)},
				{Name: "other", Restart: true, Command: []string{"/bin/sleep", "1000"}},
			},
		}
		p, err := pod.New(spec, port, fmt.Sprintf("seatrial-chaostest-%d.%s", os.Getpid(), spec.Name), filepath.Join(t.TempDir(), "logs"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Stop(time.Second); err != nil {
				t.Error(err)
			}
		})
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		e.Pods = append(e.Pods, p)
	}
	return e
}

// manifest is an experiment on workers with this spec.
func manifest(t *testing.T, kind, spec string) *experiments.Experiment {
	t.Helper()
	text := fmt.Sprintf(`apiVersion: chaos-mesh.org/v1alpha1
kind: %s
metadata:
  name: x
  namespace: seatrial
  annotations: {seatrial.dev/in-force: up == 0}
spec:
%s
`, kind, spec)
	e, err := experiments.Parse("x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

const workers = "  selector: {namespaces: [seatrial], labelSelectors: {app: worker}}\n"

func inject(t *testing.T, e *chaos.Engine, x *experiments.Experiment, seed int64) *chaos.Fault {
	t.Helper()
	f, err := e.Prepare(x, nil, seed)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Inject(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

// recovered takes a fault back, twice, and asks for what is left.
func recovered(t *testing.T, f *chaos.Fault) {
	t.Helper()
	for range 2 {
		if err := f.Recover(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if left, err := f.Residue(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 200 {
		if f() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("not within 10 s: %s", what)
}

func restarts(p *pod.Pod) (all []int) {
	for _, c := range p.Status() {
		all = append(all, c.Restarts)
	}
	return all
}

func victim(t *testing.T, e *chaos.Engine, f *chaos.Fault) *pod.Pod {
	t.Helper()
	if len(f.Victims()) != 1 {
		t.Fatalf("victims %v, want one", f.Victims())
	}
	i := slices.IndexFunc(e.Pods, func(p *pod.Pod) bool { return p.Name == f.Victims()[0] })
	return e.Pods[i]
}

func TestPodKillReplacesTheWholePod(t *testing.T) {
	e := bed(t)
	f := inject(t, e, manifest(t, "PodChaos", "  action: pod-kill\n  mode: one\n"+workers), 3)
	p := victim(t, e, f)
	if p.Running() {
		t.Error("the victim still runs")
	}
	eventually(t, "the pod is back", func() bool { return p.Running() && slices.Equal(restarts(p), []int{1, 1}) })
	recovered(t, f)
	for _, other := range e.Pods {
		if other != p && !slices.Equal(restarts(other), []int{0, 0}) {
			t.Errorf("%s was touched", other.Name)
		}
	}
}

func TestContainerKillLeavesTheOtherContainers(t *testing.T) {
	e := bed(t)
	f := inject(t, e, manifest(t, "PodChaos", "  action: container-kill\n  mode: one\n  containerNames: [worker]\n"+workers), 3)
	p := victim(t, e, f)
	eventually(t, "the container is back", func() bool { return p.Running() && slices.Equal(restarts(p), []int{1, 0}) })
	recovered(t, f)
}

func TestARepeatedKillHappensAgain(t *testing.T) {
	e := bed(t)
	x := manifest(t, "PodChaos", "  action: container-kill\n  mode: all\n  containerNames: [worker]\n"+workers)
	x.Repeat = experiments.Repeat{Every: 2 * time.Second, Times: 2}
	f := inject(t, e, x, 1)
	eventually(t, "each was killed twice", func() bool {
		return !slices.ContainsFunc(e.Pods, func(p *pod.Pod) bool { return !slices.Equal(restarts(p), []int{2, 0}) })
	})
	recovered(t, f)
}

func TestPodFailureLastsUntilItsTimeIsUp(t *testing.T) {
	e := bed(t)
	f := inject(t, e, manifest(t, "PodChaos", "  action: pod-failure\n  mode: all\n  duration: 2s\n"+workers), 1)
	for _, p := range e.Pods {
		if !p.Held() || p.Running() {
			t.Errorf("%s is not down", p.Name)
		}
	}
	if left, _ := f.Residue(t.Context()); len(left) != 3 {
		t.Errorf("residue of a fault in force: %v, want all three pods", left)
	}
	eventually(t, "all run again, by the clock alone", func() bool {
		return !slices.ContainsFunc(e.Pods, func(p *pod.Pod) bool { return !p.Running() })
	})
	recovered(t, f)
}

func TestRecoverEndsAFaultBeforeItsTime(t *testing.T) {
	e := bed(t)
	f := inject(t, e, manifest(t, "PodChaos", "  action: pod-failure\n  mode: all\n  duration: 10m\n"+workers), 1)
	recovered(t, f)
	eventually(t, "all run again", func() bool {
		return !slices.ContainsFunc(e.Pods, func(p *pod.Pod) bool { return !p.Running() })
	})
}

func TestStressRunsBesideTheContainers(t *testing.T) {
	e := bed(t)
	f := inject(t, e, manifest(t, "StressChaos", "  mode: all\n  duration: 10m\n  stressors: {cpu: {workers: 1, load: 10}, memory: {workers: 1, size: 8MB}}\n"+workers), 1)
	for _, p := range e.Pods {
		if p.Injected() != 2 {
			t.Errorf("%s has %d stressors, want 2", p.Name, p.Injected())
		}
	}
	recovered(t, f)
}

// TestMemoryThatIsShort: the kernel kills the container, and not the stressor that leaves it none; what the
// stressor held goes with the container, and the next one finds room.
func TestMemoryThatIsShort(t *testing.T) {
	e := bed(t)
	f := inject(t, e, manifest(t, "StressChaos", "  mode: one\n  duration: 10m\n  stressors: {memory: {workers: 1, size: 120MB, oomScoreAdj: 1}}\n"+workers), 1)
	p := victim(t, e, f)
	eventually(t, "the container was killed and is back, without the stressor", func() bool {
		all := p.Status()
		return all[0].Restarts == 1 && all[0].LastExit == "signal: killed" && all[0].Running && p.Injected() == 0
	})
	if got := restarts(p); got[1] != 0 {
		t.Errorf("the other container was started anew, too: %v", got)
	}
	recovered(t, f)
}

// TestASuccessorHasNoFault: whatever a fault does to a pod ends with that pod, and the fault's end
// changes nothing any more.
func TestASuccessorHasNoFault(t *testing.T) {
	for name, body := range map[string]string{
		"stress":  "  mode: all\n  duration: 10m\n  stressors: {cpu: {workers: 1, load: 10}}\n",
		"failure": "  action: pod-failure\n  mode: all\n  duration: 10m\n",
	} {
		t.Run(name, func(t *testing.T) {
			e := bed(t)
			kind := map[string]string{"stress": "StressChaos", "failure": "PodChaos"}[name]
			f := inject(t, e, manifest(t, kind, body+workers), 1)
			e.Pods[0].Replace(time.Second)
			eventually(t, "the successor runs, alone", func() bool { return e.Pods[0].Running() && e.Pods[0].Injected() == 0 && !e.Pods[0].Held() })
			if p := e.Pods[1]; p.Injected() == 0 && !p.Held() {
				t.Error("the others have lost their fault, too")
			}
			since := e.Pods[0].Status()[0].Started
			recovered(t, f)
			if now := e.Pods[0].Status()[0].Started; now != since || !e.Pods[0].Running() {
				t.Errorf("the end of the fault touched the successor: started %v, before %v", now, since)
			}
		})
	}
}

func TestAStressorThatDiesIsAnErrorAndLeavesNothing(t *testing.T) {
	e := bed(t)
	e.Self = "/bin/false"
	f, err := e.Prepare(manifest(t, "StressChaos", "  mode: all\n  duration: 10m\n  stressors: {cpu: {workers: 1}}\n"+workers), nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Inject(t.Context()); err == nil || !strings.Contains(err.Error(), "ended at once") {
		t.Errorf("inject: %v", err)
	}
	recovered(t, f)
}

// TestPartition cuts worker-0 from worker-1 and leaves worker-2 alone.
func TestPartition(t *testing.T) {
	e := bed(t)
	f := inject(t, e, manifest(t, "NetworkChaos", `  action: partition
  mode: all
  direction: both
  duration: 10m
  selector: {pods: {seatrial: [worker-0]}}
  target: {mode: all, selector: {pods: {seatrial: [worker-1]}}}
`), 1)
	if left, _ := f.Residue(t.Context()); len(left) != 1 {
		t.Errorf("residue of a fault in force: %v", left)
	}
	if got := e.Net.Faults(); !slices.Equal(got, []string{"x"}) {
		t.Errorf("the switch has %v", got)
	}
	recovered(t, f)
	if got := e.Net.Faults(); len(got) != 0 {
		t.Errorf("the switch still has %v", got)
	}
}

func TestTheSameSeedDrawsTheSameVictim(t *testing.T) {
	e := bed(t)
	x := manifest(t, "PodChaos", "  action: pod-kill\n  mode: one\n"+workers)
	seen := map[string]bool{}
	for seed := range int64(20) {
		a, err := e.Prepare(x, nil, seed)
		if err != nil {
			t.Fatal(err)
		}
		b, err := e.Prepare(x, nil, seed)
		if err != nil || !slices.Equal(a.Victims(), b.Victims()) {
			t.Fatalf("seed %d: %v and %v (%v)", seed, a.Victims(), b.Victims(), err)
		}
		if !strings.Contains(string(a.Manifest()), a.Victims()[0]) {
			t.Errorf("the manifest as applied does not name %v:\n%s", a.Victims(), a.Manifest())
		}
		seen[a.Victims()[0]] = true
	}
	if len(seen) < 2 {
		t.Errorf("20 seeds drew only %v", seen)
	}
}

func TestRefusals(t *testing.T) {
	e := bed(t)
	for name, c := range map[string]struct{ kind, spec, want string }{
		"another kind":      {"TimeChaos", "  mode: one\n  duration: 1s\n  timeOffset: -10m\n" + workers, "TimeChaos"},
		"nothing matches":   {"PodChaos", "  action: pod-kill\n  mode: one\n  selector: {labelSelectors: {app: nobody}}\n", "spec"},
		"no such container": {"PodChaos", "  action: container-kill\n  mode: one\n  containerNames: [nobody]\n" + workers, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := e.Prepare(manifest(t, c.kind, c.spec), nil, 1)
			if err == nil && name == "no such container" {
				// Chaos Mesh passes over a container that a pod has not; a fault
				// without effect is for its signature to tell.
				recovered(t, f)
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want …%s…", err, c.want)
			}
		})
	}
}
