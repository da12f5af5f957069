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

// TestBadRollout rolls out two releases of the API that cannot work, under load: one without an image and one that
// is never ready. Each gets stuck, users notice nothing, and RolloutStuck rings with a runbook whose diagnosis is true
// and whose way back, executed as it stands there, is one.
func TestBadRollout(t *testing.T) {
	c := connect(t)
	var all []users
	var answers []answer
	for _, tt := range []struct{ name, setting, differs string }{
		{"missing-image", "api.image.tag=that-is-not-there", "that-is-not-there"},
		{"never-ready", "api.settings.nats_urls={nats://nats-0.nats:4223}", "nats-0.nats:4223"},
	} {
		u, a := c.badRollout(t, tt.name, tt.setting, tt.differs)
		all, answers = append(all, u), append(answers, a)
	}
	c.keep(t, "bad-rollout", map[string]any{"users": all, "answers": answers},
		"# Bad rollouts under load\n\n"+usersTable(all)+"\nSince the bad release was rolled out, and since its rollback began:\n\n"+answersTable(answers))
}

// badRollout rolls out a release with a setting that keeps it from ever being ready, and has it rolled back as the
// runbook tells, which must find what differs.
func (c *cluster) badRollout(t *testing.T, name, setting, differs string) (users, answer) {
	t.Helper()
	good := c.deployment(t, "api")
	on := c.onCall(t, "RolloutStuck")
	l := c.startLoad(t, "bad-rollout", steady(100))
	begun := time.Now()
	c.release(t, setting)
	c.change(t, "api", func(d *apps.Deployment) { d.Spec.ProgressDeadlineSeconds = ptr(int32(15)) }) // the rollback gives it back
	u := users{What: "bad rollout of api: " + name}
	c.eventually(t, 90*time.Second, "the bad rollout is stuck and says so", func(ctx context.Context) error {
		var err error
		u.Status, err = stuck(c.api.AppsV1().Deployments(namespace).Get(ctx, "api", meta.GetOptions{}))
		return err
	})
	on.awaitAlert(t, c, "RolloutStuck", begun)
	if n := c.served(t); n < int(*good.Spec.Replicas) {
		t.Errorf("%s: only %d of %d good pods serve", name, n, *good.Spec.Replicas)
	}
	removed := time.Now()
	on.rollBack(t, differs)
	c.awaitWhole(t)
	u.Seconds = time.Since(begun).Seconds()
	a := on.awaitEnd(t, c, "RolloutStuck", begun, removed)
	u.saw(t, l.judge(t, "bad-rollout-"+name))
	if now := c.deployment(t, "api"); !same(now.Spec.Template, good.Spec.Template) || *now.Spec.ProgressDeadlineSeconds != *good.Spec.ProgressDeadlineSeconds {
		t.Errorf("%s: the Deployment is not what it was", name)
	}
	return u, a
}

// TestBadRelease rolls out a release of the API that becomes ready and answers badly: a deadline for storing tasks of
// a millisecond, where seconds were meant, which is shorter than what three disks take. ReleaseBad pages while an
// old pod still serves, its runbook's diagnosis is true, and what it tells to do serves users again. Requests that
// were answered with an error may or may not be done; none that was accepted is lost.
func TestBadRelease(t *testing.T) {
	c := connect(t)
	good := c.deployment(t, "api")
	on := c.onCall(t, "ReleaseBad")
	l := c.startLoad(t, "bad-release", steady(300))
	time.Sleep(5 * time.Second)
	begun := time.Now()
	c.release(t, "api.settings.publish_deadline=1ms")
	// One old pod goes, and the other one stays, so that there is one to compare with however slow the machine is.
	c.eventually(t, time.Minute, "one of two pods is replaced", func(ctx context.Context) error {
		d, err := c.api.AppsV1().Deployments(namespace).Get(ctx, "api", meta.GetOptions{})
		if err == nil && d.Status.UpdatedReplicas < *d.Spec.Replicas {
			err = fmt.Errorf("%d of the pods are of the new release", d.Status.UpdatedReplicas)
		}
		return err
	})
	c.change(t, "api", func(d *apps.Deployment) {
		d.Spec.MinReadySeconds, d.Spec.ProgressDeadlineSeconds = 300, ptr(int32(600))
	}) // the rollback gives both back
	// Connections stay where they are, so it may take a while until the new release is asked at all.
	c.eventually(t, 2*time.Minute, "the new release answers", func(ctx context.Context) error {
		vector, err := on.metrics.Vector(ctx, `seatrial:release:answers > 1 and on (release) seatrial:release:newest{job="api"}`, time.Now())
		if err == nil && len(vector) == 0 {
			err = errors.New("nobody asks it")
		}
		return err
	})
	inForce := time.Now()
	on.awaitAlert(t, c, "ReleaseBad", inForce)
	removed := time.Now()
	on.rollBack(t, "SEATRIAL_PUBLISH_DEADLINE")
	c.awaitWhole(t)
	a := on.awaitEnd(t, c, "ReleaseBad", inForce, removed)
	c.eventually(t, 30*time.Second, "users are served again", func(ctx context.Context) error {
		vector, err := on.metrics.Vector(ctx, "seatrial:task_errors:ratio15s < 0.001", time.Now())
		if err == nil && len(vector) == 0 {
			err = errors.New("seatrial:task_errors:ratio15s is not below 0.001")
		}
		return err
	})
	u := users{What: "bad release of api", Seconds: time.Since(begun).Seconds(), Status: "rolled back by its runbook"}
	s := l.judge(t, "bad-release")
	u.note(s)
	if s.Status != verdict.Pass || u.Lost > 0 || u.Refused+u.Unknown == 0 {
		t.Errorf("%s: %s: %s; %d lost, %d requests failed", u.What, s.Status, s.Reason, u.Lost, u.Refused+u.Unknown)
	}
	if now := c.deployment(t, "api"); !same(now.Spec.Template, good.Spec.Template) || now.Spec.MinReadySeconds != good.Spec.MinReadySeconds || now.Spec.Paused {
		t.Error("the Deployment is not what it was")
	}
	c.keep(t, "bad-release", map[string]any{"users": []users{u}, "answers": []answer{a}},
		"# A bad release under load\n\n"+usersTable([]users{u})+"\nSince the new release was asked, and since the rollback began:\n\n"+answersTable([]answer{a}))
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
	u.note(s)
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

func (u *users) note(s *evidence.Scenario) {
	u.Rate, u.Accepted, u.Refused, u.Unknown, u.Lost, u.Duplicated = s.AchievedRate, s.Accepted, s.Refused, s.Unknown, s.Lost, s.Duplicated
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
