package proof

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"testing"
	"time"
)

// hooks are the pods of `helm test` that each release must have.
var hooks = []struct {
	release, namespace string
	pods               []string
}{
	{"seatrial", namespace, []string{"api-test", "loadgen-test", "nats-test", "seatrial-test", "valkey-test", "worker-test"}},
	{"verifier", verifierNamespace, []string{"verifier-test"}},
}

// suite finds what `helm test` says of a hook: its name and its phase.
var suite = regexp.MustCompile(`(?m)^TEST SUITE: +(\S+)\n(?:Last .*\n)*Phase: +(\S+)`)

// phases are those of the hooks that `helm test` tells of. A release's ConfigMaps are hooks too, by the name of
// their pod: the worse phase counts.
func phases(said string) map[string]string {
	all := map[string]string{}
	for _, m := range suite.FindAllStringSubmatch(said, -1) {
		if all[m[1]] == "" || m[2] != "Succeeded" {
			all[m[1]] = m[2]
		}
	}
	return all
}

// TestHelmTest runs `helm test` of every release: every pod that must be there ran and succeeded. Then
// it takes away whom one of them asks, to see that this would be found.
func TestHelmTest(t *testing.T) {
	if _, err := exec.LookPath("helm"); err != nil {
		unproven(t, "%v", err)
	}
	c := connect(t)
	text := "# helm test\n\n"
	seen := map[string]map[string]string{}
	for _, h := range hooks {
		out, err := shell(t.Context(), fmt.Sprintf("helm test %s --namespace %s --timeout 150s", h.release, h.namespace))
		if err != nil {
			t.Errorf("helm test %s: %v\n%s", h.release, err, out)
		}
		seen[h.release] = phases(out)
		for _, pod := range h.pods {
			if phase := seen[h.release][pod]; phase != "Succeeded" {
				t.Errorf("helm test %s: the pod %s is %q, want it to have succeeded\n%s", h.release, pod, phase, out)
			}
		}
		for pod := range seen[h.release] {
			if !slices.Contains(h.pods, pod) {
				t.Errorf("helm test %s ran %s, of which this proof does not know", h.release, pod)
			}
		}
		text += fmt.Sprintf("```text\n$ helm test %s\n%s```\n\n", h.release, out)
	}
	c.keep(t, "helm-test", seen, text)
	c.findsNobody(t)
}

// findsNobody sees that `helm test` fails while no load generator is there.
func (c *cluster) findsNobody(t *testing.T) {
	t.Helper()
	was, err := c.scale(t.Context(), "loadgen", 0)
	if err != nil {
		t.Fatal(err)
	}
	cleanup(t, "remove the pod loadgen-test", func(ctx context.Context) error { return c.deletePod(ctx, namespace, "loadgen-test") })
	back := func(ctx context.Context) error { _, err := c.scale(ctx, "loadgen", was); return err }
	cleanup(t, "scale loadgen back", back)
	c.eventually(t, time.Minute, "no load generator is there", func(ctx context.Context) error {
		pods, err := c.pods(ctx, namespace, "app=loadgen")
		if err == nil && len(pods) > 0 {
			err = fmt.Errorf("%d are", len(pods))
		}
		return err
	})
	out, err := shell(t.Context(), "helm test seatrial --namespace seatrial --filter name=loadgen-test --timeout 20s")
	if err == nil {
		t.Errorf("helm test finds a load generator though there is none:\n%s", out)
	} else if phase := phases(out)["loadgen-test"]; phase != "Failed" {
		t.Errorf("helm test fails for another reason, the pod loadgen-test is %q: %v\n%s", phase, err, out)
	}
	if err := back(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.awaitWhole(t)
}

// The reader of what helm says is shown what helm 3 says.
func TestPhases(t *testing.T) {
	said := "NAME: seatrial\nSTATUS: deployed\nREVISION: 1\n" +
		"TEST SUITE:     seatrial-test\nLast Started:   Sat Nov 28 00:00:01 2026\nLast Completed: Sat Nov 28 00:00:01 2026\nPhase:          Succeeded\n" +
		"TEST SUITE:     api-test\nLast Started:   Sat Nov 28 00:00:02 2026\nLast Completed: Sat Nov 28 00:00:05 2026\nPhase:          Succeeded\n" +
		"TEST SUITE:     seatrial-test\nLast Started:   Sat Nov 28 00:00:06 2026\nLast Completed: Sat Nov 28 00:00:09 2026\nPhase:          Failed\n"
	if all := phases(said); len(all) != 2 || all["api-test"] != "Succeeded" || all["seatrial-test"] != "Failed" {
		t.Errorf("found %v", all)
	}
}
