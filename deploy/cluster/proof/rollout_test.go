package proof

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// rolled are the workloads whose pods are replaced under load. The servers go together, one of each kind at a
// time, for that is harder on the system and takes half the time.
var rolled = [][]string{{"api"}, {"worker"}, {"nats", "valkey"}}

// sets are those that are StatefulSets.
var sets = []string{"nats", "valkey"}

// elections is for how long at most the stream has no leader while its three servers are replaced: each that goes
// hands over what it leads, and if none did, an election would take up to nine seconds.
const elections = 3 * 9 * time.Second

// TestRollout replaces every pod of the system under the load of two load generators, which share it. No
// task is lost or done twice. While services are replaced no request fails; while servers are, no more than elections
// explain.
func TestRollout(t *testing.T) {
	c := connect(t)
	c.twoLoadgens(t)
	const rate = 100
	var all []users
	for _, names := range rolled {
		u, s := c.rollout(t, names, rate)
		if slices.Contains(sets, names[0]) {
			u.bore(t, s, int(rate*elections.Seconds()))
		} else {
			u.saw(t, s)
		}
		all = append(all, u)
	}
	c.keep(t, "rollout", all, "# Rollouts under load\n\nTwo load generators send half of it each.\n\n"+usersTable(all))
}

// rollout replaces every pod of some workloads under a load of which each load generator sends its share.
func (c *cluster) rollout(t *testing.T, names []string, rate float64) (users, *evidence.Scenario) {
	t.Helper()
	folder := "rollout-" + strings.Join(names, "-")
	l := c.startLoad(t, folder, steady(rate))
	time.Sleep(5 * time.Second) // what was before is part of the record
	begun := time.Now()
	for _, name := range names {
		c.restart(t, name)
	}
	c.eventually(t, 5*time.Minute, "the new pods of "+strings.Join(names, " and ")+" are there", func(ctx context.Context) error {
		var err error
		for _, name := range names {
			err = errors.Join(err, c.replaced(ctx, name))
		}
		return err
	})
	u := users{What: "rollout of " + strings.Join(names, " and "), Seconds: time.Since(begun).Seconds()}
	time.Sleep(5 * time.Second)
	s := l.judge(t, folder)
	shares := l.shares(t)
	if len(shares) != 2 {
		t.Errorf("%s: %d load generators sent a share, want 2", u.What, len(shares))
	}
	for pod, share := range shares {
		if share < 0.45*rate || share > 0.55*rate {
			t.Errorf("%s: load generator %s sent %.1f of %.0f requests/s, want half of them", u.What, pod, share, rate)
		}
	}
	return u, s
}

// replaced says what is missing until all pods of a workload are new.
func (c *cluster) replaced(ctx context.Context, name string) error {
	if slices.Contains(sets, name) {
		s, err := c.api.AppsV1().StatefulSets(namespace).Get(ctx, name, meta.GetOptions{})
		if err != nil {
			return err
		}
		return setRolledOut(s)
	}
	d, err := c.api.AppsV1().Deployments(namespace).Get(ctx, name, meta.GetOptions{})
	if err != nil {
		return err
	}
	return errors.Join(rolledOut(d), c.onlyNew(ctx, d))
}

// TestBadRollout rolls out two releases of the API that cannot work, under load: one without an image and one that
// is never ready. Each gets stuck, users notice nothing, and RolloutStuck rings with a runbook whose diagnosis is true
// and whose way back, executed as it stands there, is one.
func TestBadRollout(t *testing.T) {
	c := connect(t)
	var all []users
	var answers []answer
	var rows []row
	for _, tt := range []struct{ name, setting, differs string }{
		{"missing-image", "api.image.tag=that-is-not-there", "that-is-not-there"},
		{"never-ready", "api.settings.nats_urls={nats://nats-0.nats:4223}", "nats-0.nats:4223"},
	} {
		u, a, r := c.badRollout(t, tt.name, tt.setting, tt.differs)
		all, answers, rows = append(all, u), append(answers, a), append(rows, r)
	}
	c.keep(t, "bad-rollout", map[string]any{"users": all, "answers": answers, "confusion": rows},
		"# Bad rollouts under load\n\n"+usersTable(all)+"\nSince the bad release was rolled out, and since its rollback began:\n\n"+answersTable(answers)+rowsTable(rows))
}

// badRollout rolls out a release with a setting that keeps it from ever being ready, and has it rolled back as the
// runbook tells, which must find what differs.
func (c *cluster) badRollout(t *testing.T, name, setting, differs string) (users, answer, row) {
	t.Helper()
	good := c.deployment(t, "api")
	on := c.onCall(t, "RolloutStuck")
	l := c.startLoad(t, "bad-rollout", steady(100))
	on.awaitApart(t, c, "RolloutStuck")
	begun := time.Now()
	c.release(t, "seatrial", namespace, setting)
	c.change(t, "api", func(d *apps.Deployment) { d.Spec.ProgressDeadlineSeconds = ptr(int32(15)) }) // the rollback gives it back
	u := users{What: "bad rollout of api: " + name}
	c.eventually(t, 90*time.Second, "the bad rollout is stuck and says so", func(ctx context.Context) error {
		var err error
		u.Status, err = stuck(c.api.AppsV1().Deployments(namespace).Get(ctx, "api", meta.GetOptions{}))
		return err
	})
	proven := time.Now()
	on.awaitAlert(t, c, "RolloutStuck", begun)
	if n, err := c.served(t.Context(), "api"); err != nil || n < *good.Spec.Replicas {
		t.Errorf("%s: only %d of %d good pods serve: %v", name, n, *good.Spec.Replicas, err)
	}
	removed := time.Now()
	r := on.tellsApart(t, name, "RolloutStuck", proven, removed)
	on.rollBack(t, differs)
	c.awaitWhole(t)
	u.Seconds = time.Since(begun).Seconds()
	a := on.awaitEnd(t, c, "RolloutStuck", begun, removed)
	u.saw(t, l.judge(t, "bad-rollout-"+name))
	if now := c.deployment(t, "api"); !same(now.Spec.Template, good.Spec.Template) || *now.Spec.ProgressDeadlineSeconds != *good.Spec.ProgressDeadlineSeconds {
		t.Errorf("%s: the Deployment is not what it was", name)
	}
	return u, a, r
}

// TestBadRelease rolls out a release of the API that becomes ready and answers badly: a deadline for storing tasks of
// a millisecond, where seconds were meant, which is shorter than what three disks take. ReleaseBad pages while an
// old pod still serves, its runbook's diagnosis is true, and what it tells to do serves users again. Requests that
// were answered with an error may or may not be done; none that was accepted is lost.
func TestBadRelease(t *testing.T) {
	c := connect(t)
	good := c.deployment(t, "api")
	on := c.onCall(t, "ReleaseBad")
	l := c.startLoad(t, "bad-release", steady(200))
	time.Sleep(5 * time.Second)
	on.awaitApart(t, c, "ReleaseBad")
	begun := time.Now()
	c.release(t, "seatrial", namespace, "api.settings.publish_deadline=1ms")
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
	anew := c.comeAnew(t, 100, `seatrial:release:answers > 1 and on (release) seatrial:release:newest{job="api"}`)
	inForce := time.Now()
	on.awaitAlert(t, c, "ReleaseBad", inForce)
	removed := time.Now()
	r := on.tellsApart(t, "bad release", "ReleaseBad", inForce, removed)
	on.rollBack(t, "SEATRIAL_PUBLISH_DEADLINE")
	c.awaitWhole(t)
	a := on.awaitEnd(t, c, "ReleaseBad", inForce, removed)
	c.awaitAnswer(t, 30*time.Second, "seatrial:task_errors:ratio15s < 0.001") // users are served again
	u := users{What: "bad release of api", Seconds: time.Since(begun).Seconds(), Status: "rolled back by its runbook"}
	for i, l := range append(anew, l) {
		s := l.judge(t, fmt.Sprintf("bad-release-%d", i))
		if s.Status != verdict.Pass {
			t.Errorf("%s: %s: %s: %s", u.What, l.name, s.Status, s.Reason)
		}
		u.add(s)
		if i >= len(anew)-1 { // the two that went on until the end
			u.Rate += s.AchievedRate
		}
	}
	if u.Lost > 0 || u.Refused+u.Unknown == 0 {
		t.Errorf("%s: %d lost, %d requests failed", u.What, u.Lost, u.Refused+u.Unknown)
	}
	if now := c.deployment(t, "api"); !same(now.Spec.Template, good.Spec.Template) || now.Spec.MinReadySeconds != good.Spec.MinReadySeconds || now.Spec.Paused {
		t.Error("the Deployment is not what it was")
	}
	c.keep(t, "bad-release", map[string]any{"users": []users{u}, "answers": []answer{a}, "confusion": []row{r}},
		"# A bad release under load\n\n"+usersTable([]users{u})+"\nSince the new release was asked, and since the rollback began:\n\n"+answersTable([]answer{a})+rowsTable([]row{r}))
}

// comeAnew lets users come until a query has an answer. Connections stay where they are, and a fast machine needs few:
// those of a load that was there before may all be to pods of before. Those of a new one are not. Of the loads that it
// returns, one goes on.
func (c *cluster) comeAnew(t *testing.T, rate float64, query string) (all []*load) {
	t.Helper()
	var err error
	for n := range 10 {
		l := c.startLoad(t, fmt.Sprintf("anew-%d", n), steady(rate))
		all = append(all, l)
		if err = insist(15*time.Second, c.answered(t, query)); err == nil {
			return all
		}
		if err := l.stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("users have come %d times, and %s has no answer: %v", len(all), query, err)
	return nil
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

// bore judges what users saw while what the API needs was away for moments: some requests failed, of which no more
// than so many, and what was accepted is done once.
func (u *users) bore(t *testing.T, s *evidence.Scenario, most int) {
	t.Helper()
	u.note(s)
	if s.Status != verdict.Pass || u.Lost+u.Duplicated > 0 {
		t.Errorf("%s: %s: %s; %d lost, %d duplicated", u.What, s.Status, s.Reason, u.Lost, u.Duplicated)
	}
	if u.Refused+u.Unknown > most {
		t.Errorf("%s: users saw %d requests refused and %d without an answer to rely on, want at most %d", u.What, u.Refused, u.Unknown, most)
	}
	if u.Rate < 95 {
		t.Errorf("%s: only %.1f of 100 requests/s were sent", u.What, u.Rate)
	}
}

func (u *users) note(s *evidence.Scenario) {
	u.Rate, u.Accepted, u.Refused, u.Unknown, u.Lost, u.Duplicated = s.AchievedRate, s.Accepted, s.Refused, s.Unknown, s.Lost, s.Duplicated
}

// add counts the users of another load in.
func (u *users) add(s *evidence.Scenario) {
	u.Accepted, u.Refused, u.Unknown = u.Accepted+s.Accepted, u.Refused+s.Refused, u.Unknown+s.Unknown
	u.Lost, u.Duplicated = u.Lost+s.Lost, u.Duplicated+s.Duplicated
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
	patch := []byte(fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339)))
	var err error
	if slices.Contains(sets, name) {
		_, err = c.api.AppsV1().StatefulSets(namespace).Patch(t.Context(), name, types.StrategicMergePatchType, patch, meta.PatchOptions{})
	} else {
		_, err = c.api.AppsV1().Deployments(namespace).Patch(t.Context(), name, types.StrategicMergePatchType, patch, meta.PatchOptions{})
	}
	if err != nil {
		t.Fatalf("restart %s: %v", name, err)
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

// served is how many pods of a Service are ready for what it sends them.
func (c *cluster) served(ctx context.Context, service string) (n int32, err error) {
	list, err := c.api.DiscoveryV1().EndpointSlices(namespace).List(ctx, meta.ListOptions{LabelSelector: "kubernetes.io/service-name=" + service})
	if err != nil {
		return 0, err
	}
	for _, s := range list.Items {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready {
				n++
			}
		}
	}
	return n, nil
}

func same(a, b core.PodTemplateSpec) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}
