package cleanup

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// suspect is a record of Chaos Mesh whose fault may still be in force.
type suspect struct {
	id string // namespace/pod, namespace/pod/container, or longer
	// since is when Chaos Mesh last tried to inject it; zero when that is not known.
	since time.Time
}

// mayHave says whether a pod created then may have the fault: one that was made
// after the last injection is clean. Both times are whole seconds of the API
// server's and Chaos Mesh's clocks, so a tie, and a second, count as older.
func (s suspect) mayHave(created time.Time) bool {
	return s.since.IsZero() || !created.After(s.since.Add(time.Second))
}

// suspects are the records that were touched and not taken back. "Not Injected/..."
// is an injection that was begun: part of it may be in force.
func suspects(records []*v1alpha1.Record) []suspect {
	var all []suspect
	for _, r := range records {
		if r.Phase == v1alpha1.NotInjected && r.InjectedCount <= r.RecoveredCount {
			continue
		}
		s := suspect{id: r.Id}
		for _, e := range r.Events {
			if e.Operation == v1alpha1.Apply && e.Timestamp != nil && e.Timestamp.After(s.since) {
				s.since = e.Timestamp.Time
			}
		}
		all = append(all, s)
	}
	return all
}

// podOf is the pod that a record's id names.
func podOf(id string) (types.NamespacedName, error) {
	parts := strings.Split(id, "/")
	if len(parts) < 2 || parts[0] == "" || parts[1] == "" {
		return types.NamespacedName{}, fmt.Errorf("the record %q names no pod", id)
	}
	return types.NamespacedName{Namespace: parts[0], Name: parts[1]}, nil
}

// namesPods says whether the records of obj's kind name pods. BlockChaos names
// pods, but breaks the node's volume, which no restart repairs.
func namesPods(obj client.Object) bool {
	switch obj.(type) {
	case *v1alpha1.AWSChaos, *v1alpha1.AzureChaos, *v1alpha1.GCPChaos, *v1alpha1.PhysicalMachineChaos,
		*v1alpha1.BlockChaos, *v1alpha1.KernelChaos:
		return false
	}
	return true
}

// rulesOf are the objects in which Chaos Mesh keeps what is in force in a pod.
func rulesOf(pod types.NamespacedName) []client.Object {
	m := meta.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}
	return []client.Object{
		&v1alpha1.PodNetworkChaos{ObjectMeta: m}, &v1alpha1.PodIOChaos{ObjectMeta: m}, &v1alpha1.PodHttpChaos{ObjectMeta: m},
	}
}

// mentions says whether rules hold one that came from obj: Chaos Mesh writes
// namespace/name as its source.
func mentions(rules, obj client.Object) bool {
	source := obj.GetNamespace() + "/" + obj.GetName()
	switch r := rules.(type) {
	case *v1alpha1.PodNetworkChaos:
		for _, x := range r.Spec.IPSets {
			if x.Source == source {
				return true
			}
		}
		for _, x := range r.Spec.Iptables {
			if x.Source == source {
				return true
			}
		}
		for _, x := range r.Spec.TrafficControls {
			if x.Source == source {
				return true
			}
		}
	case *v1alpha1.PodIOChaos:
		for _, x := range r.Spec.Actions {
			if x.Source == source {
				return true
			}
		}
	case *v1alpha1.PodHttpChaos:
		for _, x := range r.Spec.Rules {
			if x.Source == source {
				return true
			}
		}
	}
	return false
}

func isController(o meta.OwnerReference) bool { return o.Controller != nil && *o.Controller }

// ignoreAbsent lets pass that an object, or its whole kind, is not there.
func ignoreAbsent(err error) error {
	if err == nil || apierrors.IsNotFound(err) || apimeta.IsNoMatchError(err) {
		return nil
	}
	return err
}

// kindOf is the kind of a typed object, which after a Get does not say it itself.
func kindOf(obj client.Object) string { return reflect.TypeOf(obj).Elem().Name() }
