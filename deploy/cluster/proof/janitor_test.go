package proof

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"seatrial/verifier/kube/lease"
)

// verifierNamespace is that of the chart verifier.
const verifierNamespace = "seatrial-verifier"

// promise is how long a run's faults may outlive it.
const promise = 30 * time.Second

// holdAs is the variable by which a test of this file tells a process of its own to
// be a run: to hold the lease by that name until it is killed.
const holdAs = "SEATRIAL_PROOF_HOLD_AS"

// TestBeARun is no proof: it is what TestJanitor kills.
func TestBeARun(t *testing.T) {
	run := os.Getenv(holdAs)
	if run == "" {
		t.Skip("no proof by itself: TestJanitor starts it")
	}
	c := connect(t)
	held, err := lease.Hold(t.Context(), c.client(t), verifierNamespace, run)
	if err != nil {
		t.Fatal(err)
	}
	<-held.Context().Done()
	t.Fatal(context.Cause(held.Context()))
}

// experiment is one that a run that dies has made.
type experiment struct {
	name, kind, labels string
	spec               map[string]any
	inForce            bool // wait until Chaos Mesh says so
}

// TestJanitor kills a run with SIGKILL while its faults are in force, one that Chaos Mesh takes
// back and one that it cannot where the kernel has no sch_netem. Both are gone in 30 s,
// their victims are well, and what belongs to no run is untouched.
func TestJanitor(t *testing.T) {
	c := connect(t)
	api := c.client(t)
	run := fmt.Sprintf("proof-%d", time.Now().Unix())
	victims, err := c.pods(t.Context(), namespace, "app=worker")
	if err != nil || len(victims) < 2 {
		t.Fatalf("%d workers run, want 2: %v", len(victims), err)
	}
	pods := func(name string) map[string]any {
		return map[string]any{"namespaces": []any{namespace}, "pods": map[string]any{namespace: []any{name}}}
	}
	all := []experiment{
		{name: run + "-down", kind: "PodChaos", labels: run, inForce: true, spec: map[string]any{
			"action": "pod-failure", "mode": "all", "duration": "10m", "selector": pods(victims[0].Name)}},
		{name: run + "-slow", kind: "NetworkChaos", labels: run, spec: map[string]any{
			"action": "delay", "mode": "all", "duration": "10m", "selector": pods(victims[1].Name), "delay": map[string]any{"latency": "5ms"}}},
		// It finds no victim, and would stay for ever.
		{name: run + "-foreign", kind: "PodChaos", spec: map[string]any{
			"action": "pod-failure", "mode": "all", "duration": "10m", "selector": pods("nobody-is-called-so")}},
	}
	killed := c.beARun(t, run)
	for _, e := range all {
		c.make(t, api, e)
	}
	c.eventually(t, time.Minute, "the fault is in force", func(ctx context.Context) error { return injected(ctx, api, all[0]) })
	time.Sleep(6 * time.Second) // three looks of the janitor, one by one renewal more
	for _, e := range all {
		if !c.exists(t, api, e) {
			t.Errorf("%s was removed while its run lived", e.name)
		}
	}

	killed()
	died := time.Now()
	taken := map[string]time.Duration{}
	c.eventually(t, promise, "the experiments of the dead run are gone", func(ctx context.Context) error {
		var left []error
		for _, e := range all[:2] {
			switch err := api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: e.name}, e.blank()); {
			case apierrors.IsNotFound(err):
				if taken[e.name] == 0 {
					taken[e.name] = time.Since(died)
				}
			default:
				left = append(left, errors.Join(errors.New(e.name+" is there"), err))
			}
		}
		return errors.Join(left...)
	})
	if !c.exists(t, api, all[2]) {
		t.Errorf("%s, which belongs to no run, was removed", all[2].name)
	}
	c.awaitWhole(t)
	whole := time.Since(died)
	var rows strings.Builder
	for _, e := range all[:2] {
		reason, message := c.eventAbout(t, e.name)
		fmt.Fprintf(&rows, "| %s %s | %.1f s | %s | %s |\n", e.kind, e.spec["action"], taken[e.name].Seconds(), reason, message)
	}
	c.keep(t, "janitor", taken, fmt.Sprintf("# The janitor\n\nA run was killed with SIGKILL while its faults were in force. Removed within %v, the system was whole after %.1f s.\n\n"+
		"| experiment | removed after | event | |\n|---|---:|---|---|\n%s", promise, whole.Seconds(), &rows))
}

// client reads and writes what the typed client does not know.
func (c *cluster) client(t *testing.T) client.Client {
	t.Helper()
	api, err := client.New(c.config, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

// beARun starts a process that holds the lease as run, waits until it does, and returns
// what kills it.
func (c *cluster) beARun(t *testing.T, run string) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestBeARun$", "-test.v")
	cmd.Env = append(os.Environ(), holdAs+"="+run)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	kill = func() {
		if ended {
			return
		}
		ended = true
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	c.eventually(t, time.Minute, "the run holds the lease", func(ctx context.Context) error {
		l, err := c.api.CoordinationV1().Leases(verifierNamespace).Get(ctx, lease.Name, meta.GetOptions{})
		if err != nil {
			return err
		}
		if l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity != run {
			return fmt.Errorf("the lease is not held by %s, but by %v", run, l.Spec.HolderIdentity)
		}
		return nil
	})
	return kill
}

// blank is an object of the experiment's kind to read into.
func (e experiment) blank() *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion("chaos-mesh.org/v1alpha1")
	o.SetKind(e.kind)
	o.SetNamespace(namespace)
	o.SetName(e.name)
	return o
}

// make creates an experiment; whatever becomes of the test, it does not stay.
func (c *cluster) make(t *testing.T, api client.Client, e experiment) {
	t.Helper()
	o := e.blank()
	if e.labels != "" {
		o.SetLabels(map[string]string{lease.Label: e.labels})
	}
	o.Object["spec"] = e.spec
	if err := api.Create(t.Context(), o); err != nil {
		t.Fatalf("create %s: %v", e.name, err)
	}
	cleanup(t, "remove "+e.name, func(ctx context.Context) error { return gone(api.Delete(ctx, e.blank())) })
}

func (c *cluster) exists(t *testing.T, api client.Client, e experiment) bool {
	t.Helper()
	err := api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: e.name}, e.blank())
	if gone(err) != nil {
		t.Fatal(err)
	}
	return err == nil
}

// injected says what Chaos Mesh still lacks for an experiment to be in force.
func injected(ctx context.Context, api client.Client, e experiment) error {
	o := e.blank()
	if err := api.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		return err
	}
	records, _, err := unstructured.NestedSlice(o.Object, "status", "experiment", "containerRecords")
	if err != nil || len(records) == 0 {
		return fmt.Errorf("%s has no records yet: %w", e.name, err)
	}
	for _, r := range records {
		if phase, _, _ := unstructured.NestedString(r.(map[string]any), "phase"); phase != "Injected" {
			return fmt.Errorf("%s is %q", e.name, phase)
		}
	}
	return nil
}

// eventAbout is what the janitor told of an experiment.
func (c *cluster) eventAbout(t *testing.T, name string) (reason, message string) {
	t.Helper()
	c.eventually(t, 20*time.Second, "the janitor's Event about "+name, func(ctx context.Context) error {
		list, err := c.api.CoreV1().Events(namespace).List(ctx, meta.ListOptions{FieldSelector: "involvedObject.name=" + name})
		if err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Source.Component == "seatrial-janitor" {
				reason, message = e.Reason, e.Message
				return nil
			}
		}
		return errors.New("there is none")
	})
	return reason, message
}
