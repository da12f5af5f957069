//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"seatrial/experiments"
	"seatrial/verifier/alert"
	"seatrial/verifier/evidence"
	"seatrial/verifier/kube"
	"seatrial/verifier/kube/lease"
	"seatrial/verifier/kube/tunnel"
	"seatrial/verifier/prom"
	"seatrial/verifier/system"
	"seatrial/verifier/trial"
)

// kubeFlags say which cluster, and where in it what runs. Services are given as
// SERVICE.NAMESPACE:PORT.
type kubeFlags struct {
	kubeconfig, context                                string
	namespace, verifierNamespace, chaosMeshNamespace   string
	chaosMeshVersion                                   string
	prometheus, alertmanager, api, loadgen, loadTarget string
}

func (f *kubeFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.kubeconfig, "kubeconfig", "", "`FILE` with the cluster's address and the right to use it (default: $KUBECONFIG, ~/.kube/config, or in a pod its service account)")
	fl.StringVar(&f.context, "context", "", "`NAME` in the kubeconfig (default: its current one)")
	fl.StringVar(&f.namespace, "namespace", "seatrial", "`NAMESPACE` of the system; manifests of experiments are moved to it")
	fl.StringVar(&f.verifierNamespace, "verifier-namespace", "seatrial-verifier", "`NAMESPACE` of the lease")
	fl.StringVar(&f.chaosMeshNamespace, "chaos-mesh-namespace", "chaos-mesh", "`NAMESPACE` of Chaos Mesh")
	fl.StringVar(&f.chaosMeshVersion, "chaos-mesh-version", "", "`VERSION` to believe where Chaos Mesh does not tell its own")
	fl.StringVar(&f.prometheus, "prometheus", "prometheus-operated.monitoring:9090", "`SERVICE.NAMESPACE:PORT` of Prometheus")
	fl.StringVar(&f.alertmanager, "alertmanager", "alertmanager-operated.monitoring:9093", "`SERVICE.NAMESPACE:PORT` of Alertmanager")
	fl.StringVar(&f.api, "api", "", "`SERVICE.NAMESPACE:PORT` of the API (default: api.NAMESPACE:80)")
	fl.StringVar(&f.loadgen, "loadgen", "", "`SERVICE.NAMESPACE:PORT` of the load generators (default: loadgen.NAMESPACE:8090)")
	fl.StringVar(&f.loadTarget, "load-target", "", "`URL` that the load generators send tasks to (default: http://api.NAMESPACE.svc/task)")
}

// kubeOnly and localOnly are the flags that mean something on one testbed only.
var (
	kubeOnly = []string{"kubeconfig", "context", "namespace", "verifier-namespace", "chaos-mesh-namespace", "chaos-mesh-version",
		"prometheus", "alertmanager", "api", "loadgen", "load-target"}
	localOnly = []string{"bin", "deps", "binary", "name", "api-port", "prometheus-port", "alertmanager-port"}
)

// oneTarget refuses flags that the target would pass over.
func (f *runFlags) oneTarget(flags *pflag.FlagSet) error {
	foreign, of := kubeOnly, onKubernetes
	if f.target == onKubernetes {
		foreign, of = localOnly, onLocal
	}
	for _, name := range foreign {
		if flags.Changed(name) {
			return fmt.Errorf("--%s means nothing with --target %s; it is for --target %s", name, f.target, of)
		}
	}
	return nil
}

// complete fills in what follows from the namespace, and finds mistakes.
func (f *kubeFlags) complete() error {
	f.api = cmp.Or(f.api, "api."+f.namespace+":80")
	f.loadgen = cmp.Or(f.loadgen, "loadgen."+f.namespace+":8090")
	f.loadTarget = cmp.Or(f.loadTarget, "http://api."+f.namespace+".svc/task")
	for name, value := range map[string]string{"namespace": f.namespace, "verifier-namespace": f.verifierNamespace, "chaos-mesh-namespace": f.chaosMeshNamespace} {
		if value == "" {
			return fmt.Errorf("--%s is empty", name)
		}
	}
	for name, value := range map[string]string{"prometheus": f.prometheus, "alertmanager": f.alertmanager, "api": f.api, "loadgen": f.loadgen} {
		if err := tunnel.Validate(value); err != nil {
			return fmt.Errorf("--%s: %w", name, err)
		}
	}
	return nil
}

// inCluster is `seatrial run --target kubernetes`.
func (f *runFlags) inCluster(cmd *cobra.Command) error {
	if err := f.complete(); err != nil {
		return err
	}
	ctx, stop := orderly(cmd.Context(), cmd.ErrOrStderr())
	defer stop()
	started := time.Now()
	dir, err := newRunDir(f.report, f.seed, started)
	if err != nil {
		return err
	}
	bed, held, err := f.take(ctx, lease.ID(filepath.Base(dir)))
	if err != nil {
		_ = os.Remove(dir) // nothing is in it
		return err
	}
	ctx, end := heldWith(ctx, held)
	defer end()
	out := cmd.OutOrStdout()
	suite, set, plans, err := f.suiteFlags.load(ctx)
	if err != nil {
		return err
	}
	v := bed.Versions()
	fmt.Fprintf(out, "run %s on the cluster %s (Kubernetes %s, Chaos Mesh %s), scenarios: %d\n",
		filepath.Base(dir), v["cluster"], v["kubernetes"], v["chaos-mesh"], len(plans))
	s, err := f.wireCluster(ctx, bed, dir, set)
	if err != nil {
		return err
	}
	operator, remove, err := f.kubectlShell()
	if err != nil {
		return err
	}
	defer remove()
	s.operator = operator
	return errors.Join(f.holdAll(ctx, s, suite, plans, started, out), leaseLost(ctx))
}

// take connects to the cluster and takes its lease.
func (f *runFlags) take(ctx context.Context, run string) (*kube.Testbed, *lease.Held, error) {
	bed, err := kube.Open(ctx, kube.Config{
		Kubeconfig: f.kubeconfig, Context: f.context, Namespace: f.namespace,
		ChaosMeshNamespace: f.chaosMeshNamespace, ChaosMeshVersion: f.chaosMeshVersion, Run: run,
	})
	if err != nil {
		return nil, nil, err
	}
	// Taking it may be interrupted; once taken it is renewed until the very end, also
	// while an interrupted run takes its faults back.
	whole, cancel := context.WithCancel(context.WithoutCancel(ctx))
	taken := context.AfterFunc(ctx, cancel)
	held, err := lease.Hold(whole, bed.Client(), f.verifierNamespace, run)
	if !taken() && err == nil {
		err = errors.Join(context.Cause(ctx), release(held))
	}
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return bed, held, nil
}

// heldWith is ctx until the lease is lost; the returned function gives it back.
func heldWith(ctx context.Context, held *lease.Held) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(held.Context(), func() { cancel(context.Cause(held.Context())) })
	return ctx, func() {
		stop()
		cancel(nil)
		_ = release(held) // it expires by itself
	}
}

func release(held *lease.Held) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return held.Release(ctx)
}

// leaseLost is the reason for which a run ended before its time without anybody's wish.
func leaseLost(ctx context.Context) error {
	if err := context.Cause(ctx); errors.Is(err, lease.ErrLost) {
		return err
	}
	return nil
}

// orderly ends ctx at the first interrupt; a second one ends the process.
func orderly(ctx context.Context, stderr io.Writer) (context.Context, func()) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // who reads the output may leave
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		for _, then := range []func(){cancel, func() { os.Exit(130) }} {
			select {
			case <-signals:
				fmt.Fprintln(stderr, "\ninterrupted: taking everything back in order (again: end at once, and leave it to the janitor)")
				then()
			case <-done:
				return
			}
		}
	}()
	return ctx, func() { signal.Stop(signals); close(done); cancel() }
}

// wireCluster joins the testbed in a cluster with the adapters that trials need.
func (f *runFlags) wireCluster(ctx context.Context, bed *kube.Testbed, dir string, set *experiments.Set) (*session, error) {
	transport := bed.Transport()
	metrics, err := prom.New("http://"+f.prometheus, transport)
	if err != nil {
		return nil, err
	}
	bed.Judge(func(ctx context.Context, query string) (bool, error) {
		vector, err := metrics.Vector(ctx, query, time.Now())
		return len(vector) > 0, err
	})
	find := func(ctx context.Context) ([]string, error) {
		urls, err := bed.Endpoints(ctx, f.loadgen)
		for i := range urls {
			urls[i] = "http://" + urls[i]
		}
		return urls, err
	}
	s := &session{
		bed: kubeBed{bed}, set: set, dir: dir, metrics: metrics,
		load:   newLoader(find, f.loadTarget, transport),
		system: system.New("http://"+f.api, transport),
		alerts: alert.NewManager("http://"+f.alertmanager, transport),
	}
	if dir != "" && bed.Here(ctx) { // without a folder nothing runs, and nobody has to bear witness
		s.processors, s.flush = processors, flush(dir)
	}
	return s, nil
}

// kubeBed shows the testbed in a cluster as the interface that trials declare.
type kubeBed struct{ *kube.Testbed }

func (b kubeBed) Prepare(ctx context.Context, e *experiments.Experiment, pick []string, seed int64) (trial.Fault, error) {
	f, err := b.Testbed.Prepare(ctx, e, pick, seed)
	if err != nil {
		return nil, err // not a *kube.Fault that is nil, which would be none as an interface
	}
	return kubeFault{f}, nil
}

// kubeFault shows a fault in a cluster as the interface that trials declare.
type kubeFault struct{ *kube.Fault }

func (f kubeFault) VictimPods(ctx context.Context) ([]evidence.VictimPod, error) {
	pods, err := f.Fault.VictimPods(ctx)
	var all []evidence.VictimPod
	for _, p := range pods {
		all = append(all, evidence.VictimPod{Name: p.Name, UIDBefore: p.UIDBefore, UIDAfter: p.UIDAfter, Restarts: p.Restarts})
	}
	return all, err
}
