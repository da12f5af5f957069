package proof

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/remotecommand"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"seatrial/verifier/kube/tunnel"
)

// namespace is that of the system under trial.
const namespace = "seatrial"

// cluster is the cluster that the proofs are about.
type cluster struct {
	config *rest.Config
	api    kubernetes.Interface
	dialer *tunnel.Dialer
	dir    string            // where evidence goes
	pages  map[string]string // of this proof, for readers, by name
}

// unproven ends a proof that lacks what it needs: where all must be proven (SEATRIAL_MUST)
// as failed, elsewhere as skipped.
func unproven(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("SEATRIAL_MUST") != "" {
		t.Fatalf("not proven: "+format, args...)
	}
	t.Skipf("not proven: "+format, args...)
}

// connect returns the cluster with its system whole, or ends the proof.
func connect(t *testing.T) *cluster {
	t.Helper()
	path := os.Getenv("SEATRIAL_KUBECONFIG")
	if path == "" {
		unproven(t, "SEATRIAL_KUBECONFIG names no cluster")
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatalf("read SEATRIAL_KUBECONFIG: %v", err)
	}
	config.QPS, config.Burst = 50, 100
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	log.SetLogger(logr.New(log.NullLogSink{}))
	reader, err := client.New(config, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	dir := os.Getenv("SEATRIAL_PROOFS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "reports", "cluster")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &cluster{config, api, &tunnel.Dialer{Client: reader, Config: config}, dir, map[string]string{}}
	t.Cleanup(func() { c.close(t) }) // registered first, so it runs last: what cannot be put back fails a proof too
	c.awaitWhole(t)
	return c
}

// awaitWhole waits until every workload of the system has all its pods.
func (c *cluster) awaitWhole(t *testing.T) {
	t.Helper()
	c.eventually(t, 3*time.Minute, "the system is whole", func(ctx context.Context) error {
		deployments, err := c.api.AppsV1().Deployments(namespace).List(ctx, meta.ListOptions{})
		if err != nil {
			return err
		}
		sets, err := c.api.AppsV1().StatefulSets(namespace).List(ctx, meta.ListOptions{})
		if err != nil {
			return err
		}
		if len(deployments.Items) == 0 || len(sets.Items) == 0 {
			return fmt.Errorf("there are %d Deployments and %d StatefulSets in namespace %s", len(deployments.Items), len(sets.Items), namespace)
		}
		for i := range deployments.Items {
			if err := rolledOut(&deployments.Items[i]); err != nil {
				return err
			}
		}
		for i := range sets.Items {
			if err := setRolledOut(&sets.Items[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// rolledOut says what a Deployment still lacks, as `kubectl rollout status` does.
func rolledOut(d *apps.Deployment) error {
	want := *d.Spec.Replicas
	s := d.Status
	if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != want || s.Replicas != want || s.AvailableReplicas != want {
		return fmt.Errorf("Deployment %s has %d pods, %d of them new, %d available, want %d", d.Name, s.Replicas, s.UpdatedReplicas, s.AvailableReplicas, want)
	}
	return nil
}

// setRolledOut is rolledOut of a StatefulSet.
func setRolledOut(set *apps.StatefulSet) error {
	want := *set.Spec.Replicas
	s := set.Status
	if s.ObservedGeneration < set.Generation || s.CurrentRevision != s.UpdateRevision || s.UpdatedReplicas != want || s.Replicas != want || s.AvailableReplicas != want {
		return fmt.Errorf("StatefulSet %s has %d pods, %d of them new, %d available, want %d", set.Name, s.Replicas, s.UpdatedReplicas, s.AvailableReplicas, want)
	}
	return nil
}

// eventually asks until there is no error, four times a second.
func (c *cluster) eventually(t *testing.T, within time.Duration, what string, ask func(ctx context.Context) error) {
	t.Helper()
	if err := insist(within, ask); err != nil {
		t.Fatalf("%s: not within %v: %v", what, within, err)
	}
}

func insist(limit time.Duration, ask func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		err := ask(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// cleanup runs after the test, also after a failed one, with time of its own.
func cleanup(t *testing.T, what string, do func(ctx context.Context) error) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := do(ctx); err != nil {
			t.Errorf("clean up: %s: %v", what, err)
		}
	})
}

// pods lists the pods of a selector that run and are not on their way out.
func (c *cluster) pods(ctx context.Context, namespace, selector string) ([]core.Pod, error) {
	list, err := c.api.CoreV1().Pods(namespace).List(ctx, meta.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	var all []core.Pod
	for _, p := range list.Items {
		if p.Status.Phase == core.PodRunning && p.DeletionTimestamp == nil && p.Status.PodIP != "" {
			all = append(all, p)
		}
	}
	return all, nil
}

// scale sets the number of a Deployment's pods and returns what it was.
func (c *cluster) scale(ctx context.Context, name string, replicas int32) (int32, error) {
	now, err := c.api.AppsV1().Deployments(namespace).GetScale(ctx, name, meta.GetOptions{})
	if err != nil {
		return 0, err
	}
	was := now.Spec.Replicas
	if was == replicas {
		return was, nil
	}
	want := &autoscaling.Scale{ObjectMeta: meta.ObjectMeta{Name: name, Namespace: namespace}, Spec: autoscaling.ScaleSpec{Replicas: replicas}}
	_, err = c.api.AppsV1().Deployments(namespace).UpdateScale(ctx, name, want, meta.UpdateOptions{})
	return was, err
}

// exec runs a shell script in a container and returns what it printed.
func (c *cluster) exec(ctx context.Context, namespace, pod, container, script string) (string, error) {
	url := c.api.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&core.PodExecOptions{Container: container, Command: []string{"sh", "-c", script}, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	run, err := remotecommand.NewWebSocketExecutor(c.config, "GET", url.String())
	if err != nil {
		return "", fmt.Errorf("exec in pod %s: %w", pod, err)
	}
	var out, complaints bytes.Buffer
	if err := run.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out, Stderr: &complaints}); err != nil {
		return out.String(), fmt.Errorf("exec in pod %s: %w: %.300s", pod, err, &complaints)
	}
	return out.String(), nil
}

// keep writes what a proof saw: name.json for programs and, when it has ended, name.md for readers.
func (c *cluster) keep(t *testing.T, name string, seen any, text string) {
	t.Helper()
	data, err := json.MarshalIndent(seen, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	c.write(t, name+".json", string(data)+"\n")
	c.pages[name] = text
	t.Log("\n" + text)
}

// close writes the pages of a proof that has ended, with its outcome, when that was, and on what.
func (c *cluster) close(t *testing.T) {
	outcome := "passed"
	if t.Failed() {
		outcome = "FAILED"
	}
	kubernetes := "a cluster that does not tell its version"
	if v, err := c.api.Discovery().ServerVersion(); err == nil {
		kubernetes = "Kubernetes " + v.GitVersion
	}
	for name, text := range c.pages {
		c.write(t, name+".md", fmt.Sprintf("%s\n\n%s %s on %s, on %s.\n",
			strings.TrimRight(text, "\n"), t.Name(), outcome, time.Now().UTC().Format("2006-01-02 15:04 UTC"), kubernetes))
	}
}

func (c *cluster) write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, file), []byte(text), 0o644); err != nil {
		t.Errorf("keep evidence: %v", err)
	}
}

func ptr[T any](v T) *T { return &v }

// restricted is what the Pod Security level restricted asks of a container.
func restricted() *core.SecurityContext {
	return &core.SecurityContext{
		AllowPrivilegeEscalation: ptr(false), RunAsNonRoot: ptr(true), RunAsUser: ptr(int64(65532)),
		Capabilities:   &core.Capabilities{Drop: []core.Capability{"ALL"}},
		SeccompProfile: &core.SeccompProfile{Type: core.SeccompProfileTypeRuntimeDefault},
	}
}

// shellImage is an image with a shell that the cluster has: the one of nats.
func (c *cluster) shellImage(t *testing.T) string {
	t.Helper()
	set, err := c.api.AppsV1().StatefulSets(namespace).Get(t.Context(), "nats", meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return set.Spec.Template.Spec.Containers[0].Image
}

// gone is err, unless that says that what was to be deleted is not there.
func gone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
