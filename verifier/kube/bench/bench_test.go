package bench

import (
	"testing"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestMain(m *testing.M) { Main(m) }

// TestItServesChaosMeshsKindsAndAuthorizes: the two things that a fake client would not.
func TestItServesChaosMeshsKindsAndAuthorizes(t *testing.T) {
	b := Start(t)
	ns := b.Namespace(t)
	good := &v1alpha1.PodChaos{ObjectMeta: meta.ObjectMeta{Namespace: ns, Name: "good"}, Spec: v1alpha1.PodChaosSpec{
		Action:            v1alpha1.PodFailureAction,
		ContainerSelector: v1alpha1.ContainerSelector{PodSelector: v1alpha1.PodSelector{Mode: v1alpha1.AllMode}},
	}}
	if err := b.Client.Create(t.Context(), good); err != nil {
		t.Errorf("create a PodChaos: %v", err)
	}
	bad := good.DeepCopy()
	bad.ObjectMeta = meta.ObjectMeta{Namespace: ns, Name: "bad"}
	bad.Spec.Action = "pod-tickle"
	if err := b.Client.Create(t.Context(), bad); !apierrors.IsInvalid(err) {
		t.Errorf("a PodChaos with an unknown action: want it refused, got %v", err)
	}
	err := b.As(t, "system:serviceaccount:x:nobody").Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "good"}, &core.Pod{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("an account without a role reads a pod: want it forbidden, got %v", err)
	}
}
