package kube

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"seatrial/experiments"
	"seatrial/verifier/kube/bench"
	"seatrial/verifier/kube/lease"
)

func TestMain(m *testing.M) { bench.Main(m) }

// cluster is a bench with a system of pods, a Chaos Mesh that is played, and a
// testbed that has the documented rights and no others.
type cluster struct {
	*bench.Bench
	ns   string
	mesh *mesh
	bed  *Testbed
}

const run = "20260101-000000-seed1"

func newCluster(t *testing.T) *cluster {
	t.Helper()
	b := bench.Start(t)
	c := &cluster{Bench: b, ns: b.Namespace(t)}
	for part, n := range map[string]int{"nats": 3, "worker": 2} {
		for i := range n {
			makePod(t, b.Client, c.ns, fmt.Sprintf("%s-%d", part, i), part)
		}
	}
	chaos := b.Namespace(t)
	for name, labels := range map[string]map[string]string{
		"controller": {component: "controller-manager", "app.kubernetes.io/version": "2.8.3"}, "daemon": {component: "chaos-daemon", "app.kubernetes.io/version": "2.8.3"},
	} {
		p := podOf(chaos, name, labels)
		create(t, b.Client, p)
	}
	const user = "verifier"
	for _, r := range rules {
		ns := map[place]string{inSystem: c.ns, inChaosMesh: chaos}[r.place]
		if ns != "" && !r.outside {
			permit(t, b.Client, ns, user, r)
		}
	}
	cfg := Config{Kubeconfig: kubeconfig(t, b, user), Namespace: c.ns, ChaosMeshNamespace: chaos, Run: run}
	bed, err := Open(t.Context(), cfg)
	// A young API server has not given everyone yet what everyone may.
	for begun := time.Now(); err != nil && time.Since(begun) < 20*time.Second; time.Sleep(100 * time.Millisecond) {
		bed, err = Open(t.Context(), cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	bed.injectWithin, bed.recoverWithin = 3*time.Second, 3*time.Second
	c.mesh, c.bed = playMesh(t, b.Client, c.ns), bed
	return c
}

// permit gives a user the rights of a rule in a namespace.
func permit(t *testing.T, c client.Client, ns, user string, r rule) {
	t.Helper()
	role := &rbac.Role{ObjectMeta: meta.ObjectMeta{Namespace: ns, GenerateName: "r-"},
		Rules: []rbac.PolicyRule{{APIGroups: []string{r.group}, Resources: r.resources, Verbs: r.verbs}}}
	if err := c.Create(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	binding := &rbac.RoleBinding{ObjectMeta: meta.ObjectMeta{Namespace: ns, Name: role.Name},
		Subjects: []rbac.Subject{{Kind: rbac.UserKind, APIGroup: rbac.GroupName, Name: user}},
		RoleRef:  rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "Role", Name: role.Name}}
	if err := c.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
}

func kubeconfig(t *testing.T, b *bench.Bench, user string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: bench
contexts: [{name: bench, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: %q, as: %q}}]
`, b.Config.Host, b.Config.BearerToken, user)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func podOf(ns, name string, labels map[string]string) *core.Pod {
	return &core.Pod{ObjectMeta: meta.ObjectMeta{Namespace: ns, Name: name, Labels: labels}, Spec: core.PodSpec{
		NodeName: "node", Containers: []core.Container{{Name: "main", Image: "image:v1"}}, TerminationGracePeriodSeconds: new(int64),
	}}
}

func makePod(t *testing.T, c client.Client, ns, name, app string) {
	t.Helper()
	p := podOf(ns, name, map[string]string{appLabel: app})
	p.Spec.Containers[0].Name = app
	// Only a pod that would be made anew may be restarted by force.
	p.OwnerReferences = []meta.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: app, UID: "1", Controller: new(true)}}
	create(t, c, p)
}

// create makes a pod and says that it runs.
func create(t *testing.T, c client.Client, p *core.Pod) {
	t.Helper()
	if err := c.Create(context.Background(), p); err != nil {
		t.Errorf("make pod %s: %v", p.Name, err)
		return
	}
	p.Status = core.PodStatus{
		Phase: core.PodRunning, PodIP: "198.18.0.9", Conditions: []core.PodCondition{{Type: core.PodReady, Status: core.ConditionTrue}},
		ContainerStatuses: []core.ContainerStatus{{Name: p.Spec.Containers[0].Name, State: core.ContainerState{Running: &core.ContainerStateRunning{}}}},
	}
	if err := c.Status().Update(context.Background(), p); err != nil {
		t.Errorf("let pod %s run: %v", p.Name, err)
	}
}

// prepare prepares an experiment of those built in, whose duration is d if it has one.
func (c *cluster) prepare(t *testing.T, name string, d time.Duration) *Fault {
	t.Helper()
	e, err := experiments.Embedded().Get(name)
	if err != nil {
		t.Fatal(err)
	}
	changed := *e
	changed.Victims = "" // no query was asked: any that the selector matches
	if changed.Duration > 0 {
		changed.Duration = d
	}
	f, err := c.bed.Prepare(t.Context(), &changed, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// other is a testbed on the same cluster that differs.
func (c *cluster) other(change func(*Testbed)) *Testbed {
	bed := &Testbed{cfg: c.bed.cfg, client: c.bed.client, dialer: c.bed.dialer, rights: map[right]bool{}}
	change(bed)
	return bed
}

// noResidue fails the test when anything is left, by the fault's own word and by
// the administrator's look.
func (c *cluster) noResidue(t *testing.T, f *Fault) {
	t.Helper()
	left, err := f.Residue(t.Context())
	if err != nil || len(left) > 0 {
		t.Errorf("residue %q, %v", left, err)
	}
	for _, o := range c.mesh.created() {
		if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(o), blank(o)); !apierrors.IsNotFound(err) {
			t.Errorf("%s: want it gone, got %v", nameOf(o), err)
		}
	}
}

func TestAFaultFromInjectionToNothing(t *testing.T) {
	c := newCluster(t)
	f := c.prepare(t, "nats-partition", time.Minute)
	if len(c.mesh.created()) > 0 {
		t.Fatal("the dry run was real")
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Errorf("recover what was never injected: %v", err)
	}
	if err := f.Inject(t.Context()); err != nil {
		t.Fatal(err)
	}
	object := c.mesh.created()[0].(*v1alpha1.NetworkChaos)
	victims := f.Victims()
	if len(victims) != 1 || !slices.Equal(object.Spec.Selector.Pods[c.ns], victims) || len(object.Spec.Target.Selector.Pods[c.ns]) != 2 {
		t.Errorf("victims %q, applied to %v with targets %v", victims, object.Spec.Selector.Pods, object.Spec.Target.Selector.Pods)
	}
	if object.Labels[lease.Label] != run || object.Labels[experimentLabel] != "nats-partition" || *object.Spec.Duration != (time.Minute+spare).String() {
		t.Errorf("labels %v, duration %s", object.Labels, *object.Spec.Duration)
	}
	if left, err := f.Residue(t.Context()); err != nil || len(left) < 2 {
		t.Errorf("in force, residue says only %q, %v", left, err)
	}
	for range 2 {
		if err := f.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.noResidue(t, f)
	text := string(f.Manifest())
	for _, part := range []string{"kind: NetworkChaos", "injectedCount: 1", victims[0], "seatrial/run: " + run} {
		if !strings.Contains(text, part) {
			t.Errorf("the manifest has no %q:\n%s", part, text)
		}
	}
	if got := f.Account(); !strings.Contains(got, "injected 3 of 3") || strings.Contains(got, "force") {
		t.Errorf("account: %s", got)
	}
}

func TestAFaultEndsByItsDuration(t *testing.T) {
	c := newCluster(t)
	f := c.prepare(t, "worker-down", 300*time.Millisecond)
	if err := f.Inject(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-f.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
	c.noResidue(t, f)
}

func TestTheSameSeedDrawsTheSameVictims(t *testing.T) {
	c := newCluster(t)
	one, two := c.prepare(t, "nats-quorum-lost", time.Second), c.prepare(t, "nats-quorum-lost", time.Second)
	if v := one.Victims(); len(v) != 2 || !slices.Equal(v, two.Victims()) {
		t.Errorf("%q and %q", v, two.Victims())
	}
	e, err := experiments.Embedded().Get("nats-quorum-lost")
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[string]bool{}
	for seed := range int64(20) {
		f, err := c.bed.Prepare(t.Context(), e, nil, seed)
		if err != nil {
			t.Fatal(err)
		}
		drawn[strings.Join(f.Victims(), " ")] = true
	}
	if len(drawn) < 2 {
		t.Errorf("twenty seeds have drawn %v", drawn)
	}
}

// TestAVictimThatIsReplacedTakesItsFaultAlong: its UID tells, until the fault is taken back.
func TestAVictimThatIsReplacedTakesItsFaultAlong(t *testing.T) {
	c := newCluster(t)
	f := c.prepare(t, "nats-quorum-lost", time.Minute)
	if pods, err := f.VictimPods(t.Context()); err != nil || len(pods) > 0 {
		t.Errorf("before the injection: %+v, %v", pods, err)
	}
	if err := f.Inject(t.Context()); err != nil {
		t.Fatal(err)
	}
	replace := func(name string) {
		t.Helper()
		if err := c.Client.Delete(t.Context(), podOf(c.ns, name, nil), client.GracePeriodSeconds(0)); err != nil {
			t.Fatal(err)
		}
		makePod(t, c.Client, c.ns, name, "nats")
	}
	victims := f.Victims()
	replace(victims[1])
	inForce, err := f.VictimPods(t.Context())
	if err != nil || len(inForce) != 2 {
		t.Fatalf("%+v, %v", inForce, err)
	}
	stays, goes := inForce[0], inForce[1]
	if stays.Name != victims[0] || stays.UIDBefore == "" || stays.UIDAfter != stays.UIDBefore || goes.Name != victims[1] || goes.UIDAfter == "" || goes.UIDAfter == goes.UIDBefore {
		t.Errorf("%+v", inForce)
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	replace(victims[0]) // the fault was over
	if after, err := f.VictimPods(t.Context()); err != nil || !reflect.DeepEqual(after, inForce) {
		t.Errorf("%+v, %v; want what was when it was taken back: %+v", after, err, inForce)
	}
	if got := f.Account(); !strings.Contains(got, "while it was in force: "+victims[1]+" was replaced") {
		t.Errorf("account: %s", got)
	}
}

func TestWhatChaosMeshNeverTakesBackIsForced(t *testing.T) {
	c := newCluster(t)
	f := c.prepare(t, "nats-partition", time.Minute)
	if err := f.Inject(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.mesh.set(func() { c.mesh.stuck = true })
	if err := f.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.Account(); !strings.Contains(got, "removed by force, restarted "+c.ns+"/nats-0") {
		t.Errorf("account: %s", got)
	}
	c.noResidue(t, f)
}

func TestVictimsOfLaterRoundsAreDrawnFromThePodsThatThereAre(t *testing.T) {
	c := newCluster(t)
	e, err := experiments.Embedded().Get("worker-kill")
	if err != nil {
		t.Fatal(err)
	}
	repeated := *e
	repeated.Repeat = experiments.Repeat{Every: 300 * time.Millisecond, Times: 4}
	f, err := c.bed.Prepare(t.Context(), &repeated, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Inject(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-f.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
	if err := f.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	killed := map[string]bool{}
	for _, v := range f.Victims() {
		killed[v] = true
	}
	if len(c.mesh.created()) != 4 || len(killed) != 4 {
		t.Errorf("%d objects, victims %q; each kills a pod that is there, so all differ", len(c.mesh.created()), f.Victims())
	}
	if got := f.Account(); !strings.Contains(got, "is gone") {
		t.Errorf("account: %s", got)
	}
	c.noResidue(t, f)
}

func TestPreflight(t *testing.T) {
	c := newCluster(t)
	prepare := func(bed *Testbed, name string) error {
		e, err := experiments.Embedded().Get(name)
		if err != nil {
			t.Fatal(err)
		}
		changed := *e
		changed.Victims = ""
		_, err = bed.Prepare(t.Context(), &changed, nil, 1)
		return err
	}
	if err := prepare(c.bed, "valkey-primary-kill"); err == nil || !strings.Contains(err.Error(), "the selector matches no pod") {
		t.Errorf("without a victim: %v", err)
	}
	err := prepare(c.other(func(bed *Testbed) { bed.client = c.As(t, "stranger") }), "worker-kill")
	if err == nil || !strings.Contains(err.Error(), "create podchaos") || !strings.Contains(err.Error(), "docs/kubernetes.md") {
		t.Errorf("without rights: %v", err)
	}
	daemonless := c.other(func(bed *Testbed) { bed.cfg.ChaosMeshNamespace = c.ns })
	if err := prepare(daemonless, "nats-partition"); err == nil || !strings.Contains(err.Error(), "node node: no chaos-daemon is ready") {
		t.Errorf("without a daemon: %v", err)
	}
	if err := prepare(daemonless, "worker-kill"); err != nil {
		t.Errorf("killing a pod needs no daemon: %v", err)
	}
}

func TestVersionsAndLogsOfACluster(t *testing.T) {
	c := newCluster(t)
	v := c.bed.Versions()
	if v["cluster"] != "bench" || v["chaos-mesh"] != "2.8.3" || !strings.HasPrefix(v["kubernetes"], "v") || v["worker"] != "image:v1" {
		t.Errorf("%v", v)
	}
	if err := c.bed.events(t.Context(), time.Now(), filepath.Join(t.TempDir(), "events.txt")); err != nil {
		t.Error(err)
	}
}
