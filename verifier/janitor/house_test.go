package janitor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"seatrial/verifier/janitor"
	"seatrial/verifier/kube/bench"
	"seatrial/verifier/kube/cleanup"
	"seatrial/verifier/kube/lease"
)

// house is a cluster in memory, whose time is the test's.
type house struct {
	client.Client
	down atomic.Bool // the API server does not answer
}

func newHouse() *house {
	h := &house{}
	away := func() error {
		if h.down.Load() {
			return errors.New("connection refused")
		}
		return nil
	}
	serial := atomic.Int64{}
	inner := fake.NewClientBuilder().WithScheme(bench.Scheme()).Build()
	h.Client = interceptor.NewClient(inner, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			return errors.Join(away(), c.Get(ctx, key, obj, opts...))
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			return errors.Join(away(), c.List(ctx, list, opts...))
		},
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			obj.SetUID(types.UID(fmt.Sprint("uid-", serial.Add(1)))) // as a server does
			return errors.Join(away(), c.Create(ctx, obj, opts...))
		},
	})
	return h
}

// janitor starts one, which ends with the test.
func (h *house) janitor(t *testing.T) *janitor.Janitor {
	t.Helper()
	return start(t, h)
}

func start(t *testing.T, c client.Client, namespaces ...string) *janitor.Janitor {
	t.Helper()
	if namespaces == nil {
		namespaces = []string{"seatrial"}
	}
	j, err := janitor.New(janitor.Config{
		Client: c, Namespaces: namespaces, LeaseNamespace: "seatrial-verifier",
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); j.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return j
}

// live is a run that holds the Lease until it is killed.
func live(t *testing.T, c client.Client, run string) (kill func()) {
	t.Helper()
	ctx, kill := context.WithCancel(t.Context())
	if _, err := lease.Hold(ctx, c, "seatrial-verifier", run); err != nil {
		t.Fatal(err)
	}
	return kill
}

// stuck makes an Experiment of a run, with a victim, which Chaos Mesh does not take
// back: there is none.
func stuck(t *testing.T, c client.Client, namespace, name, run string) (*v1alpha1.PodChaos, *core.Pod) {
	t.Helper()
	pod := &core.Pod{
		ObjectMeta: meta.ObjectMeta{Namespace: namespace, Name: name + "-victim", OwnerReferences: []meta.OwnerReference{
			{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "set", UID: "1", Controller: new(true)}}},
		Spec: core.PodSpec{Containers: []core.Container{{Name: "main", Image: "none"}}},
	}
	chaos := &v1alpha1.PodChaos{
		ObjectMeta: meta.ObjectMeta{Namespace: namespace, Name: name, Finalizers: []string{cleanup.Finalizer}},
		Spec: v1alpha1.PodChaosSpec{Action: v1alpha1.PodFailureAction,
			ContainerSelector: v1alpha1.ContainerSelector{PodSelector: v1alpha1.PodSelector{Mode: v1alpha1.AllMode}}},
	}
	if run != "" {
		chaos.Labels = map[string]string{lease.Label: run}
	}
	chaos.Status.Experiment.Records = []*v1alpha1.Record{{Id: namespace + "/" + pod.Name, Phase: v1alpha1.Injected, InjectedCount: 1}}
	for _, o := range []client.Object{pod, chaos} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	return chaos, pod
}

func there(t *testing.T, c client.Client, o client.Object) bool {
	t.Helper()
	err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o.DeepCopyObject().(client.Object))
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return err == nil
}

// metric is the line of a metric, or "".
func metric(j *janitor.Janitor, name string) string {
	w := httptest.NewRecorder()
	j.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, name+" ") {
			return strings.TrimSpace(line[len(name):])
		}
	}
	return ""
}

func status(j *janitor.Janitor, path string) int {
	w := httptest.NewRecorder()
	j.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code
}

// events are the reasons of all events about o.
func events(t *testing.T, c client.Client, o client.Object) []string {
	t.Helper()
	var list core.EventList
	if err := c.List(t.Context(), &list, client.InNamespace(o.GetNamespace())); err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, e := range list.Items {
		if e.InvolvedObject.UID == o.GetUID() {
			reasons = append(reasons, e.Reason)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(reasons)))
}
