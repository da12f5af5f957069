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
	"sigs.k8s.io/controller-runtime/pkg/client"

	"seatrial/loadgen/control"
	"seatrial/verifier/kube/lease"
)

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
