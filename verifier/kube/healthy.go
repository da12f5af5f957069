package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"seatrial/verifier/kube/lease"
)

// parts are the apps that a system has, in the order in which they need each other.
var parts = []string{"nats", "valkey", "api", "worker", "loadgen"}

// sign is a PromQL query that returns a sample while a part is well, beyond what
// its pods' readiness says.
type sign struct{ what, query string }

var signs = []sign{
	{"nats: every server answers", `min(nats_server_up{job="nats"}) == 1`},
	{"nats: the stream has a leader", `max(queue_stream_leader{job="api"}) == 1`},
	// A copy that takes tasks is an instant behind whenever it is looked at on a busy node. One that is really
	// behind is so at each look.
	{"nats: every server holds all of the stream", `min(max_over_time(queue_replicas_current{job="api"}[5s])) == count(nats_server_up{job="nats"})`},
	{"valkey: there is one primary", `count(redis_instance_info{job="valkey",role="master"}) == 1`},
	{"valkey: the primary has all replicas",
		`sum(redis_connected_slaves{job="valkey"} and on(pod) redis_instance_info{job="valkey",role="master"}) == count(redis_up{job="valkey"}) - 1`},
	// The primary counts a replica from the moment at which it asks for all data. Until it has them it answers no one, and its
	// pod's readiness tells of it ten seconds late.
	{"valkey: every replica has all data", `count(redis_master_link_up{job="valkey"} == 1) == count(redis_up{job="valkey"}) - 1`},
	{"all parts are scraped", `min(up{job=~"nats|valkey|api|worker|loadgen"}) == 1`},
}

// Healthy returns nil when the system is whole: of each part as many pods as its
// owner asks for, every one ready, no experiment in the namespace, and the metrics
// agree. Else the error names the first part that is not.
func (t *Testbed) Healthy(ctx context.Context) error {
	owners, err := t.owners(ctx)
	if err != nil {
		return err
	}
	pods, err := t.pods(ctx)
	if err != nil {
		return err
	}
	if err := whole(owners, pods); err != nil {
		return err
	}
	if err := t.undisturbed(ctx); err != nil {
		return err
	}
	for _, s := range signs {
		yes, err := t.ask(ctx, s.query)
		if err != nil {
			return fmt.Errorf("%s? %w", s.what, err)
		}
		if !yes {
			return fmt.Errorf("not so: %s (%s)", s.what, s.query)
		}
	}
	return nil
}

// owner is a Deployment or a StatefulSet.
type owner struct {
	kind, name, app string
	want            int32 // pods
	ready, updated  int32
	seen            bool // its controller has seen its latest change
}

func (o owner) String() string { return strings.ToLower(o.kind) + " " + o.name }

func (t *Testbed) owners(ctx context.Context) ([]owner, error) {
	var deployments apps.DeploymentList
	var sets apps.StatefulSetList
	in := client.InNamespace(t.cfg.Namespace)
	if err := t.client.List(ctx, &deployments, in); err != nil {
		return nil, fmt.Errorf("list the deployments of namespace %s: %w", t.cfg.Namespace, err)
	}
	if err := t.client.List(ctx, &sets, in); err != nil {
		return nil, fmt.Errorf("list the stateful sets of namespace %s: %w", t.cfg.Namespace, err)
	}
	var all []owner
	for _, d := range deployments.Items {
		all = append(all, owner{
			"Deployment", d.Name, d.Spec.Template.Labels[appLabel], orOne(d.Spec.Replicas),
			d.Status.ReadyReplicas, d.Status.UpdatedReplicas, d.Status.ObservedGeneration >= d.Generation,
		})
	}
	for _, s := range sets.Items {
		all = append(all, owner{
			"StatefulSet", s.Name, s.Spec.Template.Labels[appLabel], orOne(s.Spec.Replicas),
			s.Status.ReadyReplicas, s.Status.UpdatedReplicas, s.Status.ObservedGeneration >= s.Generation,
		})
	}
	return all, nil
}

func orOne(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}

// whole compares what is asked for with the pods that there are.
func whole(owners []owner, pods []core.Pod) error {
	for _, part := range parts {
		i := slices.IndexFunc(owners, func(o owner) bool { return o.app == part })
		if i < 0 {
			return fmt.Errorf("%s: no Deployment or StatefulSet makes pods labelled %s=%s", part, appLabel, part)
		}
		o := owners[i]
		if o.want == 0 {
			return fmt.Errorf("%s: %s asks for no pods", part, o)
		}
		var there int32
		for p := range pods {
			if pods[p].Labels[appLabel] != part {
				continue
			}
			if why := unready(&pods[p]); why != "" {
				return fmt.Errorf("pod %s %s", pods[p].Name, why)
			}
			there++
		}
		if there != o.want {
			return fmt.Errorf("%s: %s asks for %d pods, and there are %d", part, o, o.want, there)
		}
		if !o.seen || o.ready != o.want || o.updated != o.want {
			return fmt.Errorf("%s: %s: of %d pods %d are ready and %d up to date", part, o, o.want, o.ready, o.updated)
		}
	}
	return nil
}

// undisturbed finds experiments in the system's namespace that are not this run's, of
// every kind that breaks pods: a trial would take their effects for its own's. Those in
// other namespaces, which may aim at this one, it does not see: that takes a ClusterRole.
func (t *Testbed) undisturbed(ctx context.Context) error {
	for _, kind := range breaking() {
		list := v1alpha1.AllKinds()[kind].SpawnList()
		err := t.client.List(ctx, list, client.InNamespace(t.cfg.Namespace))
		if apimeta.IsNoMatchError(err) {
			continue // an older Chaos Mesh does not have it, and nobody can use it
		}
		if err != nil {
			return fmt.Errorf("list every %s in namespace %s: %w", kind, t.cfg.Namespace, err)
		}
		items, err := apimeta.ExtractList(list)
		if err != nil {
			return fmt.Errorf("list every %s: %w", kind, err)
		}
		for _, item := range items {
			object, ok := item.(client.Object)
			if ok && object.GetLabels()[lease.Label] != t.cfg.Run {
				return fmt.Errorf("%s %s is in force and none of this run's; delete it, or let the janitor", kind, object.GetName())
			}
		}
	}
	return nil
}

// breaking are the kinds of objects that break pods, sorted: those of the resources in kinds.
func breaking() []string {
	var all []string
	for kind := range v1alpha1.AllKinds() {
		if slices.Contains(kinds, strings.ToLower(kind)) {
			all = append(all, kind)
		}
	}
	slices.Sort(all)
	return all
}
