package janitor

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"seatrial/verifier/kube/cleanup"
	"seatrial/verifier/kube/lease"
)

// Component is who the events say they are from.
const Component = "seatrial-janitor"

// longestMessage is what Kubernetes takes of an event's message.
const longestMessage = 1024

// eventOf is what the cluster is told of a removal; nil when this janitor had no part
// in it.
func eventOf(orphan client.Object, view lease.View, done cleanup.Removal, err error, now time.Time) *core.Event {
	run := orphan.GetLabels()[lease.Label]
	reason, what := "OrphanRemoved", "removed"
	switch {
	case err != nil:
		reason, what = "OrphanStuck", "it cannot be removed: "+err.Error()
	case done.Forced:
		reason, what = "OrphanForced", "removed by force"
		if len(done.Restarted) > 0 {
			what += ", restarted " + strings.Join(done.Restarted, ", ")
		}
	case !done.Deleted:
		return nil
	}
	message := fmt.Sprintf("The run %s does not hold the lease, which is %s: %s", run, view, what)
	return &core.Event{
		ObjectMeta: meta.ObjectMeta{Namespace: orphan.GetNamespace(), GenerateName: Component + "-"},
		InvolvedObject: core.ObjectReference{
			APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: kindOf(orphan),
			Namespace: orphan.GetNamespace(), Name: orphan.GetName(), UID: orphan.GetUID(),
		},
		Reason: reason, Type: core.EventTypeWarning, Message: strings.ToValidUTF8(message[:min(len(message), longestMessage)], ""),
		Source: core.EventSource{Component: Component}, ReportingController: Component,
		FirstTimestamp: meta.NewTime(now), LastTimestamp: meta.NewTime(now), Count: 1,
	}
}

// kindOf is the kind of a typed object, which from a list does not say it itself.
func kindOf(o client.Object) string { return reflect.TypeOf(o).Elem().Name() }
