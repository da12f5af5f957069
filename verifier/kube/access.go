package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	authorization "k8s.io/api/authorization/v1"
)

// place is a namespace by the part that it plays.
type place string

const (
	inSystem     place = "seatrial"          // where the system under trial runs
	inMonitoring place = "monitoring"        // where Prometheus and Alertmanager run
	inChaosMesh  place = "chaos-mesh"        // where Chaos Mesh runs
	inVerifier   place = "seatrial-verifier" // where the lease is
)

// rule is a set of rights that the verifier needs. docs/kubernetes.md shows all of
// them as Roles, and a test compares.
type rule struct {
	place     place
	group     string
	resources []string
	verbs     []string
	outside   bool // only a verifier outside of the cluster needs it
}

// kinds are the resources of Chaos Mesh that experiments are made of. The names in
// the singular are no resources: Chaos Mesh's own webhook asks by them.
var kinds = []string{"podchaos", "networkchaos", "stresschaos", "timechaos", "iochaos", "dnschaos", "httpchaos", "kernelchaos", "jvmchaos"}

// rules is everything that the verifier does in a cluster. It needs no ClusterRole:
// that it may ask what it may is given to everyone.
var rules = []rule{
	{inSystem, "", []string{"pods"}, []string{"get", "list", "delete"}, false},
	{inSystem, "", []string{"pods/log"}, []string{"get"}, false},
	{inSystem, "", []string{"services"}, []string{"get"}, false},
	{inSystem, "", []string{"events"}, []string{"list"}, false},
	{inSystem, "apps", []string{"deployments", "statefulsets"}, []string{"list"}, false},
	{inSystem, v1alpha1.SchemeGroupVersion.Group, kinds, []string{"get", "list", "create", "update", "patch", "delete"}, false},
	{inSystem, v1alpha1.SchemeGroupVersion.Group, []string{"podnetworkchaos", "podiochaos", "podhttpchaos"}, []string{"get", "patch", "delete"}, false},
	{inSystem, "", []string{"pods/portforward"}, []string{"get", "create"}, true},
	{inMonitoring, "", []string{"services"}, []string{"get"}, true},
	{inMonitoring, "", []string{"pods"}, []string{"list"}, true},
	{inMonitoring, "", []string{"pods/portforward"}, []string{"get", "create"}, true},
	{inChaosMesh, "", []string{"pods"}, []string{"list"}, false},
	{inChaosMesh, "", []string{"pods/log"}, []string{"get"}, false},
	{inVerifier, "coordination.k8s.io", []string{"leases"}, []string{"get", "create", "update"}, false},
}

// mayInject asks the API server whether everything is allowed that an experiment of
// a resource takes, and names all that is not. What was allowed once is not asked
// again.
func (t *Testbed) mayInject(ctx context.Context, resource string) error {
	var missing []string
	for _, r := range rules {
		if r.place != inSystem || r.outside {
			continue // those were used before any trial, and would have told
		}
		resources := r.resources
		if slices.Contains(resources, kinds[0]) {
			resources = []string{resource}
		}
		for _, res := range resources {
			for _, verb := range r.verbs {
				allowed, err := t.allowed(ctx, right{t.cfg.Namespace, r.group, res, verb})
				if err != nil {
					return err
				}
				if !allowed {
					missing = append(missing, fmt.Sprintf("%s %s in %s", verb, res, t.cfg.Namespace))
				}
			}
		}
	}
	if len(missing) > 0 {
		return errors.New("not allowed to " + strings.Join(missing, ", ") + " (docs/kubernetes.md lists the rights)")
	}
	return nil
}

// right is one thing that the verifier may or may not do.
type right struct{ namespace, group, resource, verb string }

func (t *Testbed) allowed(ctx context.Context, r right) (bool, error) {
	t.mu.Lock()
	known := t.rights[r]
	t.mu.Unlock()
	if known {
		return true, nil
	}
	resource, sub, _ := strings.Cut(r.resource, "/")
	review := &authorization.SelfSubjectAccessReview{Spec: authorization.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorization.ResourceAttributes{
			Namespace: r.namespace, Group: r.group, Resource: resource, Subresource: sub, Verb: r.verb,
		},
	}}
	if err := t.client.Create(ctx, review); err != nil {
		return false, fmt.Errorf("ask whether %s of %s is allowed: %w", r.verb, r.resource, err)
	}
	if review.Status.Allowed {
		t.mu.Lock()
		t.rights[r] = true
		t.mu.Unlock()
	}
	return review.Status.Allowed, nil
}
