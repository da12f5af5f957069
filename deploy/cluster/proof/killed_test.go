package proof

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// TestRunKilledInCluster has the verifier's chart start a run as a Job, kills its process while its fault is in force, and
// finds the fault taken back and no second run.
func TestRunKilledInCluster(t *testing.T) {
	c := connect(t)
	api := c.client(t)
	cleanup(t, "end the dead run's load", c.stopLoads) // after the Job is gone
	c.release(t, "verifier", verifierNamespace, "run.enabled=true,suite.tags=@runbook:WorkerCPUStarved")
	pod := c.runPod(t)
	found := c.inForceOf(t, api, "StressChaos", 3*time.Minute)
	died := c.killRun(t, api, pod)
	taken := c.takenBack(t, api, found, died)
	reason, message := c.eventAbout(t, found.name)
	job := pod.Labels[batch.JobNameLabel]
	c.eventually(t, 30*time.Second, "the Job "+job+" has failed", func(ctx context.Context) error {
		end, err := c.jobEnd(ctx, job)
		if err == nil && end != batch.JobFailed {
			err = fmt.Errorf("it is %s", end)
		}
		return err
	})
	list, err := c.api.CoreV1().Pods(verifierNamespace).List(t.Context(), meta.ListOptions{LabelSelector: batch.JobNameLabel + "=" + job})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("the Job %s has %d pods, want the one that was killed: %v", job, len(list.Items), err)
	}
	c.awaitWhole(t)
	c.keep(t, "run-killed-in-cluster", taken, fmt.Sprintf("# A run in the cluster that was killed\n\nThe process of the Job %s was killed with SIGKILL while %s was in force; that was removed %.1f s later, the system whole after %.1f s, and the Job made no second run.\n\n%s: %s\n",
		job, found.name, taken.Seconds(), time.Since(died).Seconds(), reason, message))
}

// runPod is the pod of the Job that the verifier's chart has just made.
func (c *cluster) runPod(t *testing.T) *core.Pod {
	t.Helper()
	var pod *core.Pod
	c.eventually(t, time.Minute, "the Job of the chart runs", func(ctx context.Context) error {
		pods, err := c.pods(ctx, verifierNamespace, "app=verifier")
		if err != nil {
			return err
		}
		i := slices.IndexFunc(pods, func(p core.Pod) bool { return strings.HasPrefix(p.Labels[batch.JobNameLabel], "verifier-run-") })
		if i < 0 {
			return errors.New("it has no pod that runs")
		}
		pod = &pods[i]
		return nil
	})
	return pod
}

// killRun kills a run's process and returns when it died. To delete its pod would be no kill, even by force: kubelet tells
// the process to end and gives it its whole grace, in which it takes its faults back itself. So Chaos Mesh does it.
func (c *cluster) killRun(t *testing.T, api client.Client, pod *core.Pod) (died time.Time) {
	t.Helper()
	kill := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"action": "container-kill", "mode": "all", "containerNames": []any{"run"},
		"selector": map[string]any{"namespaces": []any{verifierNamespace}, "pods": map[string]any{verifierNamespace: []any{pod.Name}}},
	}}}
	kill.SetAPIVersion("chaos-mesh.org/v1alpha1")
	kill.SetKind("PodChaos")
	kill.SetNamespace(verifierNamespace)
	kill.SetName(fmt.Sprintf("proof-kill-%d", time.Now().Unix()))
	if err := api.Create(t.Context(), kill); err != nil {
		t.Fatalf("kill pod %s: %v", pod.Name, err)
	}
	cleanup(t, "remove "+kill.GetName(), func(ctx context.Context) error { return gone(api.Delete(ctx, kill)) })
	c.eventually(t, 30*time.Second, "the run's process is dead", func(ctx context.Context) error {
		now, err := c.api.CoreV1().Pods(verifierNamespace).Get(ctx, pod.Name, meta.GetOptions{})
		if err != nil {
			return err
		}
		for _, s := range now.Status.ContainerStatuses {
			if s.Name == "run" && s.State.Terminated != nil {
				if died = s.State.Terminated.FinishedAt.Time; s.State.Terminated.ExitCode != 137 {
					t.Errorf("the run ended with exit status %d, want 137, of SIGKILL", s.State.Terminated.ExitCode)
				}
				return nil
			}
		}
		return errors.New("it runs")
	})
	return died
}

// TestRunKilled kills a whole run, from outside of the cluster, while its fault is in force.
func TestRunKilled(t *testing.T) {
	program := filepath.Join("..", "..", "..", "bin", "seatrial")
	if _, err := os.Stat(program); err != nil {
		unproven(t, "make build makes the program: %v", err)
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
	found := c.inForceOf(t, api, "PodChaos", 2*time.Minute)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatalf("kill the run: %v\n%s", err, &said)
	}
	died := time.Now()
	taken := c.takenBack(t, api, found, died)
	reason, message := c.eventAbout(t, found.name)
	c.awaitWhole(t)
	c.keep(t, "run-killed", taken, fmt.Sprintf("# A run that was killed\n\n`seatrial run` was killed with SIGKILL while %s was in force; it was removed %.1f s later, the system whole after %.1f s.\n\n%s: %s\n",
		found.name, taken.Seconds(), time.Since(died).Seconds(), reason, message))
}

// inForceOf waits until an experiment of a run, of a kind, is in force.
func (c *cluster) inForceOf(t *testing.T, api client.Client, kind string, within time.Duration) (found experiment) {
	t.Helper()
	all := &unstructured.UnstructuredList{}
	all.SetAPIVersion("chaos-mesh.org/v1alpha1")
	all.SetKind(kind + "List")
	c.eventually(t, within, "the run's fault is in force", func(ctx context.Context) error {
		if err := api.List(ctx, all, client.InNamespace(namespace), client.HasLabels{lease.Label}); err != nil {
			return err
		}
		if len(all.Items) == 0 {
			return errors.New("it has made no experiment yet")
		}
		found = experiment{name: all.Items[0].GetName(), kind: kind}
		return injected(ctx, api, found)
	})
	return found
}

// takenBack waits until the experiment of a run that died is gone, for no longer than is promised, and returns how long it took.
func (c *cluster) takenBack(t *testing.T, api client.Client, e experiment, died time.Time) time.Duration {
	t.Helper()
	c.eventually(t, time.Until(died.Add(promise)), "the experiment of the dead run is gone", func(ctx context.Context) error {
		err := api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: e.name}, e.blank())
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New(e.name+" is there"), err)
	})
	return time.Since(died)
}

// stopLoads ends whatever the load generators send.
func (c *cluster) stopLoads(ctx context.Context) error {
	pods, err := c.pods(ctx, namespace, "app=loadgen")
	if err != nil {
		return err
	}
	for _, p := range pods {
		all, err := c.attacks(ctx, p.Name)
		for _, s := range all {
			if err == nil && s.State == control.Running {
				_, err = control.NewClient(loadgen(p.Name), c.web()).Stop(ctx, s.ID)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
