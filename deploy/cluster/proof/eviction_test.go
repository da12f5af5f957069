package proof

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// eviction is what came of asking for a pod's.
type eviction struct {
	Pod     string `json:"pod"`
	Allowed bool   `json:"allowed"`
	Message string `json:"message,omitempty"` // why it was not
}

// TestDisruptionBudgets evicts one server of each kind, and while it is away has the
// eviction of a second refused by the budget's name. Then all come back.
func TestDisruptionBudgets(t *testing.T) {
	c := connect(t)
	var seen []eviction
	for _, app := range []string{"nats", "valkey"} {
		c.awaitBudget(t, app)
		// The last, for the first is the one that a new system begins with.
		first, second := c.pod(t, app+"-2"), c.pod(t, app+"-1")
		if err := c.evict(t.Context(), first.Name); err != nil {
			t.Fatalf("evict %s while all of its kind are there: %v", first.Name, err)
		}
		seen = append(seen, eviction{Pod: first.Name, Allowed: true})
		err := c.evict(t.Context(), second.Name)
		switch {
		case !apierrors.IsTooManyRequests(err):
			t.Errorf("evict %s while %s is away: want 429, got %v", second.Name, first.Name, err)
		case !strings.Contains(because(err), "The disruption budget "+app+" needs 2 healthy pods"):
			t.Errorf("evict %s while %s is away: the refusal does not name the budget %s: %s", second.Name, first.Name, app, because(err))
		}
		seen = append(seen, eviction{Pod: second.Name, Message: because(err)})
		c.awaitAnother(t, first)
		if now := c.pod(t, second.Name); now.UID != second.UID || now.DeletionTimestamp != nil {
			t.Errorf("%s was to stay, and is another", second.Name)
		}
		c.awaitBudget(t, app)
	}
	c.awaitWhole(t)
	text := "# Disruption budgets\n\n| eviction of | came to |\n|---|---|\n"
	for _, e := range seen {
		came := "allowed"
		if !e.Allowed {
			came = "refused, 429: " + e.Message
		}
		text += fmt.Sprintf("| %s | %s |\n", e.Pod, came)
	}
	c.keep(t, "disruptionbudgets", seen, text)
}

func (c *cluster) evict(ctx context.Context, pod string) error {
	return c.api.PolicyV1().Evictions(namespace).Evict(ctx, &policy.Eviction{ObjectMeta: meta.ObjectMeta{Name: pod, Namespace: namespace}})
}

// because is an API error with its causes: the budget stands in one of those.
func because(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	if status, ok := err.(apierrors.APIStatus); ok && status.Status().Details != nil {
		for _, cause := range status.Status().Details.Causes {
			text += " " + cause.Message
		}
	}
	return text
}

func (c *cluster) pod(t *testing.T, name string) *core.Pod {
	t.Helper()
	p, err := c.api.CoreV1().Pods(namespace).Get(t.Context(), name, meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// awaitBudget waits until one pod of a kind may be evicted.
func (c *cluster) awaitBudget(t *testing.T, app string) {
	t.Helper()
	c.eventually(t, 2*time.Minute, "the budget "+app+" allows a disruption", func(ctx context.Context) error {
		b, err := c.api.PolicyV1().PodDisruptionBudgets(namespace).Get(ctx, app, meta.GetOptions{})
		if err != nil {
			return err
		}
		if s := b.Status; s.DisruptionsAllowed != 1 || s.CurrentHealthy != s.ExpectedPods || s.ObservedGeneration < b.Generation {
			return fmt.Errorf("%d of %d pods are healthy, %d disruptions allowed", s.CurrentHealthy, s.ExpectedPods, s.DisruptionsAllowed)
		}
		return nil
	})
}

// awaitAnother waits until a pod of the same name is ready that is not the same.
func (c *cluster) awaitAnother(t *testing.T, gone *core.Pod) {
	t.Helper()
	c.eventually(t, 3*time.Minute, gone.Name+" is back", func(ctx context.Context) error {
		p, err := c.api.CoreV1().Pods(gone.Namespace).Get(ctx, gone.Name, meta.GetOptions{})
		if err != nil {
			return err
		}
		if p.UID == gone.UID {
			return fmt.Errorf("the old one is still there")
		}
		for _, cond := range p.Status.Conditions {
			if cond.Type == core.PodReady && cond.Status == core.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("it is not ready")
	})
}
