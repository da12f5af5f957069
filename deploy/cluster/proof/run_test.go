package proof

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// inCluster is what the proof's run holds: a scenario that every kernel allows.
const inCluster = "--tags=@smoke"

// TestRunInCluster has the CronJob start a run by the clock, waits for its end, and reads its report and its metrics
// where they are served, and the metrics where Prometheus has them.
func TestRunInCluster(t *testing.T) {
	c := connect(t)
	began := time.Now()
	job := c.runByTheClock(t)
	var end batch.JobConditionType
	c.eventually(t, 6*time.Minute, "the run has ended", func(ctx context.Context) (err error) {
		end, err = c.jobEnd(ctx, job)
		return err
	})
	took := time.Since(began)
	log := c.jobLog(t, job)
	if end != batch.JobComplete {
		t.Errorf("the run failed:\n%s", log)
	}
	page := c.reportsPage(t, "/latest")
	if !strings.Contains(page, "<html") || !strings.Contains(page, "seatrial") {
		t.Errorf("the newest report is %.200q", page)
	}
	var started float64
	for line := range strings.Lines(c.reportsPage(t, "/metrics")) {
		if strings.HasPrefix(line, `seatrial_run_timestamp_seconds{run="`) && strings.Contains(line, `target="kubernetes"`) {
			_, _ = fmt.Sscan(line[strings.LastIndex(line, " ")+1:], &started)
		}
	}
	if at := time.UnixMilli(int64(started * 1000)); at.Before(began.Add(-time.Second)) {
		t.Errorf("the newest run that is told of started at %v, the Job at %v", at, began)
	}
	c.awaitAnswer(t, time.Minute, `count(count by (job) (up{job=~"reports|janitor"} == 1)) == 2`)
	c.awaitAnswer(t, time.Minute, fmt.Sprintf(`seatrial_run_status{target="kubernetes", status="pass"} == 1
		and on (run, target) seatrial_run_timestamp_seconds{target="kubernetes"} > %d`, began.Unix()-1))
	c.keep(t, "run-in-cluster", end, fmt.Sprintf("# A run in the cluster\n\nThe CronJob made the Job %s: %s after %.0f s. Prometheus scrapes reports and janitor, and has its result.\n\n```text\n%s```\n",
		job, end, took.Seconds(), log))
}

// runByTheClock gives the CronJob a schedule of every minute and one scenario, lets it start a run, suspends it again, and returns
// the name of the Job. All is as it was at the end of the test.
func (c *cluster) runByTheClock(t *testing.T) (job string) {
	t.Helper()
	schedule, err := c.api.BatchV1().CronJobs(verifierNamespace).Get(t.Context(), "verifier", meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !*schedule.Spec.Suspend {
		t.Fatal("the CronJob is not suspended: its own runs would come between")
	}
	old, err := c.jobsOf(t.Context(), schedule)
	if err != nil {
		t.Fatal(err)
	}
	cleanup(t, "put the schedule back", func(ctx context.Context) error {
		err := c.reschedule(ctx, func(s *batch.CronJobSpec) { *s = schedule.Spec })
		return errors.Join(err, c.removeRuns(ctx, schedule, old))
	})
	change := func(do func(*batch.CronJobSpec)) {
		if err := c.reschedule(t.Context(), do); err != nil {
			t.Fatal(err)
		}
	}
	// First the schedule: whose schedule changes waits for the next minute; whose suspension ends makes up for a start that was missed.
	change(func(s *batch.CronJobSpec) {
		s.Schedule = "* * * * *"
		container := &s.JobTemplate.Spec.Template.Spec.Containers[0]
		container.Args = append(container.Args, inCluster)
	})
	change(func(s *batch.CronJobSpec) { s.Suspend = ptr(false) })
	c.eventually(t, 2*time.Minute, "the CronJob starts a run", func(ctx context.Context) error {
		now, err := c.jobsOf(ctx, schedule)
		i := slices.IndexFunc(now, func(name string) bool { return !slices.Contains(old, name) })
		if err == nil && i < 0 {
			err = errors.New("it has made no Job yet")
		}
		if i >= 0 {
			job = now[i]
		}
		return err
	})
	change(func(s *batch.CronJobSpec) { s.Suspend = ptr(true) })
	return job
}

// reschedule changes the CronJob as it is now, again if somebody else did meanwhile.
func (c *cluster) reschedule(ctx context.Context, do func(*batch.CronJobSpec)) error {
	schedules := c.api.BatchV1().CronJobs(verifierNamespace)
	return insist(10*time.Second, func(context.Context) error {
		now, err := schedules.Get(ctx, "verifier", meta.GetOptions{})
		if err != nil {
			return err
		}
		do(&now.Spec)
		_, err = schedules.Update(ctx, now, meta.UpdateOptions{})
		return err
	})
}

// jobsOf names the Jobs that a CronJob has made.
func (c *cluster) jobsOf(ctx context.Context, schedule *batch.CronJob) (names []string, err error) {
	list, err := c.api.BatchV1().Jobs(verifierNamespace).List(ctx, meta.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		if meta.IsControlledBy(&list.Items[i], schedule) {
			names = append(names, list.Items[i].Name)
		}
	}
	return names, nil
}

// removeRuns deletes the Jobs that a CronJob has made, but for the old ones.
func (c *cluster) removeRuns(ctx context.Context, schedule *batch.CronJob, old []string) error {
	names, err := c.jobsOf(ctx, schedule)
	for _, name := range names {
		if !slices.Contains(old, name) {
			err = errors.Join(err, gone(c.api.BatchV1().Jobs(verifierNamespace).Delete(ctx, name, meta.DeleteOptions{PropagationPolicy: ptr(meta.DeletePropagationForeground)})))
		}
	}
	return err
}

// jobEnd is how a Job has ended; that it has not is an error.
func (c *cluster) jobEnd(ctx context.Context, name string) (batch.JobConditionType, error) {
	job, err := c.api.BatchV1().Jobs(verifierNamespace).Get(ctx, name, meta.GetOptions{})
	if err != nil {
		return "", err
	}
	for _, condition := range job.Status.Conditions {
		if condition.Status == core.ConditionTrue && (condition.Type == batch.JobComplete || condition.Type == batch.JobFailed) {
			return condition.Type, nil
		}
	}
	return "", errors.New("it runs")
}

// jobLog is what a Job's pod printed.
func (c *cluster) jobLog(t *testing.T, job string) string {
	t.Helper()
	list, err := c.api.CoreV1().Pods(verifierNamespace).List(t.Context(), meta.ListOptions{LabelSelector: "batch.kubernetes.io/job-name=" + job})
	if err != nil || len(list.Items) == 0 {
		t.Fatalf("the Job %s has no pod: %v", job, err)
	}
	log, err := c.api.CoreV1().Pods(verifierNamespace).GetLogs(list.Items[0].Name, &core.PodLogOptions{Container: "run"}).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(log)
}

// reportsPage is a page of the Service reports.
func (c *cluster) reportsPage(t *testing.T, path string) string {
	t.Helper()
	var text string
	c.eventually(t, 30*time.Second, "reports serves "+path, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://reports."+verifierNamespace+":80"+path, nil)
		if err != nil {
			return err
		}
		res, err := c.web().Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(io.LimitReader(res.Body, 32<<20))
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %.200s", res.Status, body)
		}
		text = string(body)
		return err
	})
	return text
}
