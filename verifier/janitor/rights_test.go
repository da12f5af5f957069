package janitor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authorization "k8s.io/api/authorization/v1"
	rbac "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"seatrial/verifier/kube/bench"
	"seatrial/verifier/kube/lease"
)

// chart is what deploy/charts/verifier renders by default; the chart's own tests see
// to it that the file is up to date.
const chart = "../../deploy/charts/check/testdata/golden/verifier.default.yaml"

// grant creates the Roles and bindings of the chart.
func grant(t *testing.T, b *bench.Bench) {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(chart))
	if err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(bench.Scheme()).UniversalDeserializer()
	granted := 0
	for _, doc := range strings.Split(string(text), "\n---\n") {
		if !strings.Contains(doc, "\nkind: Role") {
			continue
		}
		o, _, err := decoder.Decode([]byte(doc), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		switch o := o.(type) {
		case *rbac.Role, *rbac.RoleBinding:
			b.EnsureNamespace(t, o.(client.Object).GetNamespace())
			if err := b.Client.Create(t.Context(), o.(client.Object)); err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatalf("create %T: %v", o, err)
			}
			granted++
		}
	}
	if granted < 8 {
		t.Fatalf("%s has %d Roles and bindings", chart, granted)
	}
}

// may asks the API server what an account of the verifier's namespace may do.
func may(t *testing.T, b *bench.Bench, account, namespace, verb, group, resource, name string) bool {
	t.Helper()
	resource, sub, _ := strings.Cut(resource, "/")
	review := &authorization.SelfSubjectAccessReview{Spec: authorization.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorization.ResourceAttributes{
			Namespace: namespace, Verb: verb, Group: group, Resource: resource, Subresource: sub, Name: name},
	}}
	if err := b.As(t, accountName(account)).Create(t.Context(), review); err != nil {
		t.Fatalf("ask what %s may do: %v", account, err)
	}
	return review.Status.Allowed
}

func accountName(account string) string { return "system:serviceaccount:seatrial-verifier:" + account }

// TestTheChartsRightsAreEnough: the janitor does its work by its own account, by force
// as well, and the verifier holds the lease by its own. What they do not need, they may not.
func TestTheChartsRightsAreEnough(t *testing.T) {
	b := bench.Start(t)
	grant(t, b)

	held, err := lease.Hold(t.Context(), b.As(t, accountName("verifier")), "seatrial-verifier", "short")
	if err != nil {
		t.Fatalf("the verifier cannot hold the lease: %v", err)
	}
	if err := held.Release(t.Context()); err != nil {
		t.Fatalf("the verifier cannot release the lease: %v", err)
	}

	j := start(t, b.As(t, accountName("janitor")))
	chaos, pod := stuck(t, b.Client, "seatrial", "orphan-of-rights", "short")
	for begun := time.Now(); there(t, b.Client, chaos) || there(t, b.Client, pod); time.Sleep(100 * time.Millisecond) {
		if time.Since(begun) > promise {
			t.Fatal("the janitor cannot remove an orphan by its own account")
		}
	}
	time.Sleep(time.Second)
	if got := fmt.Sprint(events(t, b.Client, chaos)); got != "[OrphanForced]" {
		t.Errorf("events %s", got)
	}
	for _, name := range []string{"janitor_look_errors_total", "janitor_remove_errors_total"} {
		if metric(j, name) != "0" {
			t.Errorf("%s is %s", name, metric(j, name))
		}
	}
}

func TestTheChartsRightsAreNotMore(t *testing.T) {
	b := bench.Start(t)
	grant(t, b)
	const chaos = "chaos-mesh.org"
	for _, c := range []struct {
		account, namespace, verb, group, resource, name string
		want                                            bool
	}{
		{"verifier", "seatrial", "create", chaos, "podchaos", "", true},
		{"verifier", "seatrial", "delete", "", "pods", "", true},
		{"verifier", "chaos-mesh", "list", "", "pods", "", true},
		{"verifier", "seatrial-verifier", "update", "coordination.k8s.io", "leases", "seatrial", true},
		{"janitor", "seatrial", "patch", chaos, "networkchaos", "", true},
		{"janitor", "seatrial-verifier", "get", "coordination.k8s.io", "leases", "seatrial", true},

		{"verifier", "default", "create", chaos, "podchaos", "", false},
		{"verifier", "seatrial-verifier", "create", chaos, "podchaos", "", false},
		{"verifier", "seatrial-verifier", "delete", "", "pods", "", false},
		{"verifier", "seatrial-verifier", "update", "coordination.k8s.io", "leases", "another", false},
		{"verifier", "seatrial", "get", "", "secrets", "", false},
		{"verifier", "seatrial", "create", "", "pods", "", false},
		{"verifier", "seatrial", "create", "", "pods/exec", "", false},
		{"verifier", "seatrial", "patch", "apps", "deployments", "", false},
		{"verifier", "chaos-mesh", "delete", "", "pods", "", false},
		{"verifier", "", "list", "", "nodes", "", false},
		{"verifier", "seatrial", "create", chaos, "physicalmachinechaos", "", false},
		{"janitor", "seatrial-verifier", "update", "coordination.k8s.io", "leases", "seatrial", false},
		{"janitor", "seatrial-verifier", "create", "coordination.k8s.io", "leases", "", false},
		{"janitor", "default", "delete", chaos, "podchaos", "", false},
		{"janitor", "seatrial", "get", "", "secrets", "", false},
		{"janitor", "seatrial", "get", "", "pods/log", "", false},
		{"reports", "seatrial-verifier", "get", "coordination.k8s.io", "leases", "seatrial", false},
		{"reports", "seatrial", "list", "", "pods", "", false},
		{"reports", "seatrial", "list", chaos, "podchaos", "", false},
	} {
		if got := may(t, b, c.account, c.namespace, c.verb, c.group, c.resource, c.name); got != c.want {
			t.Errorf("%s may %s %s %s in %q: %v, want %v", c.account, c.verb, c.resource, c.name, c.namespace, got, c.want)
		}
	}
}
