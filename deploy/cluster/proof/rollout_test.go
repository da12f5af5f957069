package proof

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// users is what users saw while something was rolled out.
type users struct {
	What       string  `json:"what"`
	Seconds    float64 `json:"seconds"` // of the rollout
	Rate       float64 `json:"achieved_rate"`
	Accepted   int     `json:"accepted"`
	Refused    int     `json:"refused"`
	Unknown    int     `json:"unknown"`
	Lost       int     `json:"lost"`
	Duplicated int     `json:"duplicated"`
	Status     string  `json:"status,omitempty"` // how a bad rollout ended
}

// TestRollout replaces every pod of the API and of the workers under load: no request
// fails, no task is lost or done twice.
func TestRollout(t *testing.T) {
	c := connect(t)
	var all []users
	for _, name := range []string{"api", "worker"} {
		l := c.startLoad(t, "rollout-"+name, steady(100))
		time.Sleep(5 * time.Second) // what was before is part of the record
		begun := time.Now()
		c.restart(t, name)
		c.eventually(t, 3*time.Minute, "the new pods of "+name+" are there", func(ctx context.Context) error {
			d, err := c.api.AppsV1().Deployments(namespace).Get(ctx, name, meta.GetOptions{})
			if err != nil {
				return err
			}
			return errors.Join(rolledOut(d), c.onlyNew(ctx, d))
		})
		u := users{What: "rollout of " + name, Seconds: time.Since(begun).Seconds()}
		time.Sleep(5 * time.Second)
		u.saw(t, l.judge(t, "rollout-"+name))
		all = append(all, u)
	}
	c.keep(t, "rollout", all, "# Rollouts under load\n\n"+usersTable(all))
}

// TestBadRollout rolls out two versions of the API that cannot work, under load: one without an
// image and one that is never ready. Each gets stuck and says so, users notice nothing,
// and it is rolled back.
func TestBadRollout(t *testing.T) {
	c := connect(t)
	var all []users
	for _, tt := range []struct {
		name   string
		change func(*core.PodSpec)
	}{
		{"missing-image", func(s *core.PodSpec) { s.Containers[0].Image += "-that-is-not-there" }},
		{"never-ready", func(s *core.PodSpec) { s.Containers[0].ReadinessProbe.HTTPGet.Path = "/no-such-path" }},
	} {
		good := c.deployment(t, "api")
		c.safeguard(t, good)
		l := c.startLoad(t, "bad-rollout", steady(100))
		begun := time.Now()
		c.change(t, "api", func(d *apps.Deployment) {
			d.Spec.ProgressDeadlineSeconds = ptr(int32(15))
			tt.change(&d.Spec.Template.Spec)
		})
		u := users{What: "bad rollout of api: " + tt.name}
		c.eventually(t, 90*time.Second, "the bad rollout is stuck and says so", func(ctx context.Context) error {
			var err error
			u.Status, err = stuck(c.api.AppsV1().Deployments(namespace).Get(ctx, "api", meta.GetOptions{}))
			return err
		})
		if n := c.served(t); n < int(*good.Spec.Replicas) {
			t.Errorf("%s: only %d of %d good pods serve", tt.name, n, *good.Spec.Replicas)
		}
		c.undo(t, good)
		c.awaitWhole(t)
		u.Seconds = time.Since(begun).Seconds()
		time.Sleep(5 * time.Second)
		u.saw(t, l.judge(t, "bad-rollout-"+tt.name))
		all = append(all, u)
		if now := c.deployment(t, "api"); !same(now.Spec.Template, good.Spec.Template) {
			t.Errorf("%s: the pods' template is not what it was", tt.name)
		}
	}
	c.keep(t, "bad-rollout", all, "# Bad rollouts under load\n\n"+usersTable(all))
}

// onlyNew says whether pods are left that are on their way out: their last requests
// belong to the rollout.
func (c *cluster) onlyNew(ctx context.Context, d *apps.Deployment) error {
	pods, err := c.api.CoreV1().Pods(namespace).List(ctx, meta.ListOptions{LabelSelector: "app=" + d.Name})
	if err == nil && len(pods.Items) != int(*d.Spec.Replicas) {
		err = fmt.Errorf("%s has %d pods, with those that end, want %d", d.Name, len(pods.Items), *d.Spec.Replicas)
	}
	return err
}

// saw judges what users saw: nothing at all.
func (u *users) saw(t *testing.T, s *evidence.Scenario) {
	t.Helper()
	u.Rate, u.Accepted, u.Refused, u.Unknown, u.Lost, u.Duplicated = s.AchievedRate, s.Accepted, s.Refused, s.Unknown, s.Lost, s.Duplicated
	if s.Status != verdict.Pass {
		t.Errorf("%s: %s: %s", u.What, s.Status, s.Reason)
	}
	if u.Refused+u.Unknown > 0 {
		t.Errorf("%s: users saw %d requests refused and %d without an answer to rely on", u.What, u.Refused, u.Unknown)
	}
	if u.Rate < 95 {
		t.Errorf("%s: only %.1f of 100 requests/s were sent", u.What, u.Rate)
	}
}

func usersTable(all []users) string {
	text := "| what | took | sent/s | accepted | refused | unknown | lost | duplicated | ended as |\n|---|---|---|---|---|---|---|---|---|\n"
	for _, u := range all {
		text += fmt.Sprintf("| %s | %.0f s | %.1f | %d | %d | %d | %d | %d | %s |\n",
			u.What, u.Seconds, u.Rate, u.Accepted, u.Refused, u.Unknown, u.Lost, u.Duplicated, u.Status)
	}
	return text
}

// restart rolls out the same version, as `kubectl rollout restart` does.
func (c *cluster) restart(t *testing.T, name string) {
	t.Helper()
	patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339))
	if _, err := c.api.AppsV1().Deployments(namespace).Patch(t.Context(), name, types.StrategicMergePatchType, []byte(patch), meta.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) deployment(t *testing.T, name string) *apps.Deployment {
	t.Helper()
	d, err := c.api.AppsV1().Deployments(namespace).Get(t.Context(), name, meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// change changes a Deployment as it is now, again if somebody else did meanwhile.
func (c *cluster) change(t *testing.T, name string, do func(*apps.Deployment)) {
	t.Helper()
	if err := c.rewrite(t.Context(), name, do); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) rewrite(ctx context.Context, name string, do func(*apps.Deployment)) error {
	deployments := c.api.AppsV1().Deployments(namespace)
	return insist(10*time.Second, func(context.Context) error {
		d, err := deployments.Get(ctx, name, meta.GetOptions{})
		if err != nil {
			return err
		}
		do(d)
		_, err = deployments.Update(ctx, d, meta.UpdateOptions{})
		return err
	})
}

// safeguard puts a Deployment back at the end of the test, whatever became of it.
func (c *cluster) safeguard(t *testing.T, good *apps.Deployment) {
	t.Helper()
	cleanup(t, "put Deployment "+good.Name+" back", func(ctx context.Context) error {
		return c.rewrite(ctx, good.Name, func(d *apps.Deployment) {
			d.Spec.Template, d.Spec.ProgressDeadlineSeconds = good.Spec.Template, good.Spec.ProgressDeadlineSeconds
		})
	})
}

// undo rolls back to the ReplicaSet before this one, as `kubectl rollout undo` does, and
// gives the deadline back.
func (c *cluster) undo(t *testing.T, good *apps.Deployment) {
	t.Helper()
	sets, err := c.api.AppsV1().ReplicaSets(namespace).List(t.Context(), meta.ListOptions{LabelSelector: "app=" + good.Name})
	if err != nil {
		t.Fatal(err)
	}
	want := good.Annotations["deployment.kubernetes.io/revision"]
	for _, s := range sets.Items {
		if s.Annotations["deployment.kubernetes.io/revision"] != want {
			continue
		}
		template := *s.Spec.Template.DeepCopy()
		delete(template.Labels, apps.DefaultDeploymentUniqueLabelKey)
		c.change(t, good.Name, func(d *apps.Deployment) {
			d.Spec.Template, d.Spec.ProgressDeadlineSeconds = template, good.Spec.ProgressDeadlineSeconds
		})
		return
	}
	t.Fatalf("there is no ReplicaSet of revision %s to go back to", want)
}

// stuck returns the condition that says that a rollout does not get on.
func stuck(d *apps.Deployment, err error) (string, error) {
	if err != nil {
		return "", err
	}
	for _, c := range d.Status.Conditions {
		if c.Type != apps.DeploymentProgressing || d.Status.ObservedGeneration < d.Generation {
			continue
		}
		if c.Status == core.ConditionFalse && c.Reason == "ProgressDeadlineExceeded" {
			return "Progressing=False, ProgressDeadlineExceeded: " + c.Message, nil
		}
		return "", fmt.Errorf("Progressing=%s, %s: %s", c.Status, c.Reason, c.Message)
	}
	return "", errors.New("it says nothing of its progress")
}

// served is how many pods the API's Service sends requests to.
func (c *cluster) served(t *testing.T) int {
	t.Helper()
	slices, err := c.api.DiscoveryV1().EndpointSlices(namespace).List(t.Context(), meta.ListOptions{LabelSelector: "kubernetes.io/service-name=api"})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range slices.Items {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready {
				n++
			}
		}
	}
	return n
}

func same(a, b core.PodTemplateSpec) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}
