package proof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	autoscaling "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"seatrial/loadgen/profile"
	"seatrial/verifier/verdict"
)

// scaled are the workloads that the charts have autoscalers for.
var scaled = []string{"api", "worker"}

// moment is an autoscaler at a time.
type moment struct {
	Seconds int    `json:"seconds"` // since the load began
	Of      string `json:"of"`      // a workload
	Pods    int32  `json:"pods"`
	Serving int32  `json:"serving"` // of the pods, those that are ready
	Wanted  int32  `json:"wanted"`
	CPU     int32  `json:"cpu_percent"` // of what pods request; -1 is not known
	Asked   int    `json:"asked_rate"`  // tasks a second, mean since the load began
	Phase   string `json:"phase"`
}

func (m moment) String() string {
	return fmt.Sprintf("%s: %d pods, %d serve, %d wanted, CPU %d %% at %d tasks/s", m.Of, m.Pods, m.Serving, m.Wanted, m.CPU, m.Asked)
}

// scaling is what is seen of autoscalers under a load.
type scaling struct {
	*cluster
	before map[string]int32 // pods of each workload
	load   *load            // nil before there is one
	seen   []moment
}

// TestAutoscaling has the charts' autoscalers for the API and the workers add pods under a growing load of the load
// generators, pods that serve, and take them away after it. Whatever users were answered, no task is lost or done twice.
func TestAutoscaling(t *testing.T) {
	s := &scaling{cluster: connect(t), before: map[string]int32{}}
	// What an earlier test asked of them would have pods added before there is a load.
	s.awaitAnswer(t, 2*time.Minute, `max(rate(process_cpu_seconds_total{job=~"api|worker"}[30s])) < 0.06`)
	for _, name := range scaled {
		s.before[name] = *s.autoscaler(t, name).Spec.MinReplicas
		// metrics-server's figures are older than Prometheus': what was asked for a moment ago may still have a pod added.
		s.hasten(t, name)
	}
	err := s.watch(t, "before", func(m moment, before int32) bool {
		return m.CPU >= 0 && m.Pods == before && m.Wanted == before && m.Serving == before
	})
	if err != nil {
		t.Fatalf("the autoscalers do not know the CPU time of their pods: %v", err)
	}
	second := profile.Duration(time.Second)
	s.load = s.startLoad(t, "autoscaling", profile.Config{Kind: profile.Ramp, From: 200, To: 1200, Over: 60 * second, Duration: 300 * second})
	up := s.watch(t, "up", func(m moment, before int32) bool { return m.Pods > before && m.Wanted > before && m.Serving > before })
	u := users{What: "growing load", Seconds: time.Since(s.load.started).Seconds()}
	judged := s.load.judge(t, "autoscaling")
	u.note(judged)
	down := s.watch(t, "down", func(m moment, before int32) bool {
		return m.Pods == before && m.Wanted == before && m.Serving == before
	})
	text := "# Autoscaling of the API and the workers\n\n| s | phase | of | asked/s, mean | CPU of request | wanted | pods | serve |\n|---|---|---|---|---|---|---|---|\n"
	for _, m := range s.seen {
		cpu := fmt.Sprintf("%d %%", m.CPU)
		if m.CPU < 0 {
			cpu = "not known"
		}
		text += fmt.Sprintf("| %d | %s | %s | %d | %s | %d | %d | %d |\n", m.Seconds, m.Phase, m.Of, m.Asked, cpu, m.Wanted, m.Pods, m.Serving)
	}
	text += "\nThe load is stopped when pods were added. The patience with which autoscalers take pods away is cut from the chart's five minutes to 15 s.\n\n" + usersTable([]users{u})
	s.keep(t, "autoscaling", map[string]any{"moments": s.seen, "users": u}, text)
	if err := errors.Join(up, down); err != nil {
		t.Error(err)
	}
	if judged.Status != verdict.Pass || u.Lost+u.Duplicated > 0 {
		t.Errorf("%s: %s; %d lost, %d duplicated", judged.Status, judged.Reason, u.Lost, u.Duplicated)
	}
}

// watch looks at all autoscalers until each is as it should be, and notes what it sees every five seconds and at last.
func (s *scaling) watch(t *testing.T, phase string, done func(m moment, before int32) bool) error {
	t.Helper()
	began, last := time.Now(), -1
	return insist(3*time.Minute, func(ctx context.Context) error {
		var all []moment
		var missing []error
		for _, name := range scaled {
			m, err := s.look(ctx, name)
			if err != nil {
				return err
			}
			m.Phase = phase
			if s.load != nil {
				m.Seconds = int(time.Since(s.load.started).Seconds())
				if !s.load.stopped {
					m.Asked = int(s.load.status(t).AskedRate)
				}
			}
			if !done(m, s.before[name]) {
				missing = append(missing, errors.New(m.String()))
			}
			all = append(all, m)
		}
		if now := int(time.Since(began).Seconds()) / 5; now != last || len(missing) == 0 {
			last = now
			s.seen = append(s.seen, all...)
		}
		return errors.Join(missing...)
	})
}

// autoscaler makes the autoscaler that the chart makes where autoscaling is enabled.
// Where trials run it is not: what it adds would be no fault's effect.
func (c *cluster) autoscaler(t *testing.T, name string) *autoscaling.HorizontalPodAutoscaler {
	t.Helper()
	scalers := c.api.AutoscalingV2().HorizontalPodAutoscalers(namespace)
	if have, err := scalers.Get(t.Context(), name, meta.GetOptions{}); err == nil {
		was := have.Spec.DeepCopy()
		cleanup(t, "put the autoscaler back", func(ctx context.Context) error {
			return c.respec(ctx, name, func(s *autoscaling.HorizontalPodAutoscalerSpec) { *s = *was })
		})
		return have
	} else if !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	want := rendered(t, name)
	// Two more of each have room on one node of two cores: neither may take the other's place.
	want.Spec.MaxReplicas = min(want.Spec.MaxReplicas, *want.Spec.MinReplicas+2)
	was, err := c.scale(t.Context(), name, *want.Spec.MinReplicas)
	if err != nil {
		t.Fatal(err)
	}
	// Last in, first out: the autoscaler goes before the number is put back.
	cleanup(t, "scale "+name+" back", func(ctx context.Context) error {
		_, err := c.scale(ctx, name, was)
		return err
	})
	made, err := scalers.Create(t.Context(), want, meta.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cleanup(t, "delete the autoscaler", func(ctx context.Context) error { return gone(scalers.Delete(ctx, name, meta.DeleteOptions{})) })
	return made
}

// rendered finds the autoscaler among what the charts' checks compare renderings with.
func rendered(t *testing.T, name string) *autoscaling.HorizontalPodAutoscaler {
	t.Helper()
	text, err := os.ReadFile("../../charts/check/testdata/golden/seatrial.default.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		var h autoscaling.HorizontalPodAutoscaler
		if yaml.Unmarshal(document, &h) == nil && h.Kind == "HorizontalPodAutoscaler" && h.Name == name {
			return &h
		}
	}
	t.Fatalf("the chart renders no autoscaler for %s", name)
	return nil
}

func (c *cluster) look(ctx context.Context, name string) (moment, error) {
	h, err := c.api.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(ctx, name, meta.GetOptions{})
	if err != nil {
		return moment{}, err
	}
	m := moment{Of: name, Pods: h.Status.CurrentReplicas, Wanted: h.Status.DesiredReplicas, CPU: -1}
	if m.Serving, err = c.served(ctx, name); err != nil {
		return m, err
	}
	for _, s := range h.Status.CurrentMetrics {
		if s.Resource != nil && s.Resource.Current.AverageUtilization != nil {
			m.CPU = *s.Resource.Current.AverageUtilization
		}
	}
	return m, nil
}

// hasten lets an autoscaler take pods away soon.
func (c *cluster) hasten(t *testing.T, name string) {
	t.Helper()
	err := c.respec(t.Context(), name, func(s *autoscaling.HorizontalPodAutoscalerSpec) {
		s.Behavior.ScaleDown.StabilizationWindowSeconds = ptr(int32(15))
		s.Behavior.ScaleDown.Policies = []autoscaling.HPAScalingPolicy{{Type: autoscaling.PodsScalingPolicy, Value: 10, PeriodSeconds: 15}}
	})
	if err != nil {
		t.Errorf("hasten the autoscaler: %v", err)
	}
}

func (c *cluster) respec(ctx context.Context, name string, change func(*autoscaling.HorizontalPodAutoscalerSpec)) error {
	scalers := c.api.AutoscalingV2().HorizontalPodAutoscalers(namespace)
	return insist(10*time.Second, func(context.Context) error {
		h, err := scalers.Get(ctx, name, meta.GetOptions{})
		if err != nil {
			return err
		}
		change(&h.Spec)
		_, err = scalers.Update(ctx, h, meta.UpdateOptions{})
		return err
	})
}
