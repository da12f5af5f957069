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
)

// moment is the autoscaler at a time.
type moment struct {
	Seconds int    `json:"seconds"` // since the load began
	Pods    int32  `json:"pods"`
	Wanted  int32  `json:"wanted"`
	CPU     int32  `json:"cpu_percent"` // of what pods request; -1 is not known
	Asked   int    `json:"asked_rate"`  // tasks a second, mean since the load began
	Phase   string `json:"phase"`
}

// TestAutoscaling has the chart's autoscaler for the API add pods under a growing load
// of the load generators, and take them away after it.
func TestAutoscaling(t *testing.T) {
	c := connect(t)
	scaler := c.autoscaler(t, "api")
	before := *scaler.Spec.MinReplicas
	c.eventually(t, 2*time.Minute, "the autoscaler knows the CPU time of the API", func(ctx context.Context) error {
		m, err := c.look(ctx)
		if err == nil && (m.CPU < 0 || m.Pods != before || m.Wanted != before) {
			err = fmt.Errorf("CPU %d %%, %d pods, %d wanted, want %d", m.CPU, m.Pods, m.Wanted, before)
		}
		return err
	})
	second := profile.Duration(time.Second)
	l := c.startLoad(t, "autoscaling", profile.Config{Kind: profile.Ramp, From: 200, To: 1200, Over: 45 * second, Duration: 240 * second})
	var seen []moment
	watch := func(phase string, done func(moment) bool) error {
		last := -1
		return insist(3*time.Minute, func(ctx context.Context) error {
			m, err := c.look(ctx)
			if err != nil {
				return err
			}
			m.Seconds, m.Phase = int(time.Since(l.started).Seconds()), phase
			if !l.stopped {
				m.Asked = int(l.status(t).AskedRate)
			}
			if m.Seconds/5 != last {
				last = m.Seconds / 5
				seen = append(seen, m)
			}
			if !done(m) {
				return fmt.Errorf("%d pods, %d wanted, CPU %d %% at %d tasks/s", m.Pods, m.Wanted, m.CPU, m.Asked)
			}
			seen = append(seen, m)
			return nil
		})
	}
	up := watch("up", func(m moment) bool { return m.Pods > before && m.Wanted > before })
	stop := l.stop(t.Context())
	c.hasten(t, "api")
	down := watch("down", func(m moment) bool { return m.Pods == before && m.Wanted == before })
	text := "# Autoscaling of the API\n\n| s | phase | asked/s, mean | CPU of request | wanted | pods |\n|---|---|---|---|---|---|\n"
	for _, m := range seen {
		text += fmt.Sprintf("| %d | %s | %d | %d %% | %d | %d |\n", m.Seconds, m.Phase, m.Asked, m.CPU, m.Wanted, m.Pods)
	}
	text += "\nThe load is stopped when pods were added. For the way down the autoscaler's patience is cut from the chart's five minutes to 15 s.\n"
	c.keep(t, "autoscaling", seen, text)
	if err := errors.Join(up, stop, down); err != nil {
		t.Error(err)
	}
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

func (c *cluster) look(ctx context.Context) (moment, error) {
	h, err := c.api.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(ctx, "api", meta.GetOptions{})
	if err != nil {
		return moment{}, err
	}
	m := moment{Pods: h.Status.CurrentReplicas, Wanted: h.Status.DesiredReplicas, CPU: -1}
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
