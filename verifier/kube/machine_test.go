package kube

import (
	"context"
	"os"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// makeNode makes a node whose kubelet tells of a kernel.
func (c *cluster) makeNode(t *testing.T, name, boot string) {
	t.Helper()
	n := &core.Node{ObjectMeta: meta.ObjectMeta{Name: name}}
	if err := c.Client.Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Client.Delete(context.Background(), n) })
	n.Status.NodeInfo.BootID = boot
	if err := c.Client.Status().Update(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

func TestHere(t *testing.T) {
	c := newCluster(t)
	id, err := os.ReadFile(bootID)
	if err != nil {
		t.Fatal(err)
	}
	mayReadNodes := c.other(func(bed *Testbed) { bed.client = c.Client })
	if mayReadNodes.Here(t.Context()) {
		t.Error("here, though the pods' node is not known")
	}
	c.makeNode(t, "node", strings.TrimSpace(string(id)))
	if !mayReadNodes.Here(t.Context()) {
		t.Error("elsewhere, though the only node has this machine's kernel")
	}
	if c.bed.Here(t.Context()) {
		t.Error("here, as told to somebody who may not read nodes")
	}
	c.makeNode(t, "elsewhere", "0b3c1f6e-0000-4000-8000-000000000000")
	p := podOf(c.ns, "worker-9", map[string]string{appLabel: "worker"})
	p.Spec.NodeName = "elsewhere"
	create(t, c.Client, p)
	if mayReadNodes.Here(t.Context()) {
		t.Error("here, though a pod of the system is on another machine")
	}
}
