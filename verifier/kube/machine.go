package kube

import (
	"context"
	"os"
	"strings"

	core "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// bootID is a file with an id that the kernel drew when it started: each machine has another one, and
// all containers of a machine have the same. Source: random(4).
const bootID = "/proc/sys/kernel/random/boot_id"

// Here says whether the whole system runs on the machine that this process runs on, as it does on kind and on a cluster of
// deploy/cluster: every node that has a pod of it tells of this kernel. That asks for a right that no trial needs (get nodes).
// Whoever does not have it cannot know, and for them it runs elsewhere.
func (t *Testbed) Here(ctx context.Context) bool {
	id, err := os.ReadFile(bootID)
	if err != nil {
		return false
	}
	pods, err := t.pods(ctx)
	if err != nil {
		return false
	}
	here := map[string]bool{}
	for _, p := range pods {
		name := p.Spec.NodeName
		if name == "" || here[name] {
			continue
		}
		var n core.Node
		if t.client.Get(ctx, client.ObjectKey{Name: name}, &n) != nil || n.Status.NodeInfo.BootID != strings.TrimSpace(string(id)) {
			return false
		}
		here[name] = true
	}
	return len(here) > 0
}
