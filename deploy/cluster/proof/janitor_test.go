package proof

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"seatrial/loadgen/control"
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

// inCluster is what the proof's run holds: a scenario that every kernel allows.
const inCluster = "--tags=@smoke"

// TestRunInCluster starts a run as a Job from the CronJob, waits for its end, and reads its report and its
// metrics where they are served.
func TestRunInCluster(t *testing.T) {
	c := connect(t)
	schedule, err := c.api.BatchV1().CronJobs(verifierNamespace).Get(t.Context(), "verifier", meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	job := &batch.Job{
		ObjectMeta: meta.ObjectMeta{Name: fmt.Sprintf("proof-%d", time.Now().Unix()), Namespace: verifierNamespace, Labels: schedule.Spec.JobTemplate.Labels},
		Spec:       *schedule.Spec.JobTemplate.Spec.DeepCopy(),
	}
	container := &job.Spec.Template.Spec.Containers[0]
	container.Args = append(container.Args, inCluster)
	began := time.Now()
	if _, err := c.api.BatchV1().Jobs(verifierNamespace).Create(t.Context(), job, meta.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	cleanup(t, "remove the Job "+job.Name, func(ctx context.Context) error {
		return gone(c.api.BatchV1().Jobs(verifierNamespace).Delete(ctx, job.Name, meta.DeleteOptions{PropagationPolicy: ptr(meta.DeletePropagationForeground)}))
	})
	var end *batch.JobCondition
	c.eventually(t, 6*time.Minute, "the run has ended", func(ctx context.Context) error {
		now, err := c.api.BatchV1().Jobs(verifierNamespace).Get(ctx, job.Name, meta.GetOptions{})
		if err != nil {
			return err
		}
		for i, condition := range now.Status.Conditions {
			if condition.Status == core.ConditionTrue && (condition.Type == batch.JobComplete || condition.Type == batch.JobFailed) {
				end = &now.Status.Conditions[i]
				return nil
			}
		}
		return errors.New("it runs")
	})
	log := c.jobLog(t, job.Name)
	if end.Type != batch.JobComplete {
		t.Errorf("the run failed: %s\n%s", end.Message, log)
	}
	page := c.reportsPage(t, "/latest")
	if !strings.Contains(page, "<html") || !strings.Contains(page, "seatrial") {
		t.Errorf("the newest report is %.200q", page)
	}
	var started float64
	for line := range strings.Lines(c.reportsPage(t, "/metrics")) {
		if strings.HasPrefix(line, `seatrial_run_timestamp_seconds{run="`) && strings.Contains(line, `target="kubernetes"`) {
			_, _ = fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &started)
		}
	}
	if at := time.UnixMilli(int64(started * 1000)); at.Before(began.Add(-time.Second)) {
		t.Errorf("the newest run that is told of started at %v, the Job at %v", at, began)
	}
	c.keep(t, "run-in-cluster", end.Type, fmt.Sprintf("# A run in the cluster\n\nThe Job %s: %s after %.0f s.\n\n```text\n%s```\n",
		job.Name, end.Type, time.Since(began).Seconds(), log))
}

// jobLog is what a Job's pod printed.
func (c *cluster) jobLog(t *testing.T, job string) string {
	t.Helper()
	list, err := c.api.CoreV1().Pods(verifierNamespace).List(t.Context(), meta.ListOptions{LabelSelector: "batch.kubernetes.io/job-name=" + job})
	if err != nil || len(list.Items) == 0 {
		t.Fatalf("the Job %s has no pod: %v", job, err)
	}
	log, err := c.api.CoreV1().Pods(verifierNamespace).GetLogs(list.Items[0].Name, &core.PodLogOptions{Container: "run"}).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(log)
}

// reportsPage is a page of the Service reports.
func (c *cluster) reportsPage(t *testing.T, path string) string {
	t.Helper()
	var text string
	c.eventually(t, 30*time.Second, "reports serves "+path, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://reports."+verifierNamespace+":80"+path, nil)
		if err != nil {
			return err
		}
		res, err := (&http.Client{Transport: c.dialer.Transport()}).Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(io.LimitReader(res.Body, 32<<20))
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %.200s", res.Status, body)
		}
		text = string(body)
		return err
	})
	return text
}

// TestRunKilled kills a whole run, from outside of the cluster, while its fault is in force.
func TestRunKilled(t *testing.T) {
	program := filepath.Join("..", "..", "..", "bin", "seatrial")
	if _, err := os.Stat(program); err != nil {
		t.Skipf("not proven: make build makes the program: %v", err)
	}
	c := connect(t)
	api := c.client(t)
	cmd := exec.Command(program, "run", "--target=kubernetes", "--kubeconfig="+os.Getenv("SEATRIAL_KUBECONFIG"), "--tags=@runbook:WorkerDown", "--report="+t.TempDir())
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	// No janitor ends what a load generator was told to send.
	cleanup(t, "end the dead run's load", c.stopLoads)

	all := &unstructured.UnstructuredList{}
	all.SetAPIVersion("chaos-mesh.org/v1alpha1")
	all.SetKind("PodChaosList")
	var found experiment
	c.eventually(t, 2*time.Minute, "the run's fault is in force", func(ctx context.Context) error {
		if err := api.List(ctx, all, client.InNamespace(namespace), client.HasLabels{lease.Label}); err != nil {
			return err
		}
		if len(all.Items) == 0 {
			return errors.New("it has made no experiment yet")
		}
		found = experiment{name: all.Items[0].GetName(), kind: "PodChaos"}
		return injected(ctx, api, found)
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatalf("kill the run: %v\n%s", err, &said)
	}
	died := time.Now()
	c.eventually(t, promise, "the experiment of the dead run is gone", func(ctx context.Context) error {
		err := api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: found.name}, found.blank())
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New(found.name+" is there"), err)
	})
	taken := time.Since(died)
	reason, message := c.eventAbout(t, found.name)
	c.awaitWhole(t)
	c.keep(t, "run-killed", taken, fmt.Sprintf("# A run that was killed\n\n`seatrial run` was killed with SIGKILL while %s was in force; it was removed %.1f s later, the system whole after %.1f s.\n\n%s: %s\n",
		found.name, taken.Seconds(), time.Since(died).Seconds(), reason, message))
}

// stopLoads ends whatever the load generators send.
func (c *cluster) stopLoads(ctx context.Context) error {
	pods, err := c.pods(ctx, namespace, "app=loadgen")
	if err != nil {
		return err
	}
	web := &http.Client{Transport: c.dialer.Transport()}
	for _, p := range pods {
		base := fmt.Sprintf("http://%s.pod.%s:8090", p.Name, namespace)
		res, err := web.Get(base + "/attacks")
		if err != nil {
			return err
		}
		var all []control.Status
		err = errors.Join(json.NewDecoder(res.Body).Decode(&all), res.Body.Close())
		for _, s := range all {
			if err == nil && s.State == control.Running {
				_, err = control.NewClient(base, web).Stop(ctx, s.ID)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
