package proof

import (
	"fmt"
	"testing"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// home is a namespace whose policies are proven.
type home struct {
	namespace string
	flows     string   // the file that says who needs whom
	kinds     []string // labels "app" of the pods that the charts keep alive
	atTimes   []string // and of those that run at times
	breached  string   // the kind that strangers are let in to, to see that it would be found
	evidence  string   // the name under which is kept what was seen
}

var homeOfSystem = home{
	namespace: namespace, flows: "../../charts/flows.yaml", evidence: "networkpolicies",
	kinds: []string{"api", "worker", "loadgen", "nats", "valkey"}, atTimes: []string{"seatrial-test"}, breached: "worker",
}

var homeOfVerifier = home{
	namespace: verifierNamespace, flows: "../../charts/check/testdata/flows.verifier.yaml", evidence: "networkpolicies-verifier",
	kinds: []string{"janitor", "reports"}, atTimes: []string{"verifier", "verifier-test"}, breached: "reports",
}

// apiServer is where the API server is found: behind its Service, and at its own addresses.
func (c *cluster) apiServer(t *testing.T) []door {
	t.Helper()
	svc, err := c.api.CoreV1().Services(meta.NamespaceDefault).Get(t.Context(), "kubernetes", meta.GetOptions{})
	if err != nil {
		t.Fatalf("find the API server: %v", err)
	}
	all := []door{{"Service kubernetes", svc.Spec.ClusterIP, []string{fmt.Sprint(svc.Spec.Ports[0].Port)}}}
	slices, err := c.api.DiscoveryV1().EndpointSlices(meta.NamespaceDefault).List(t.Context(), meta.ListOptions{LabelSelector: discovery.LabelServiceName + "=kubernetes"})
	if err != nil {
		t.Fatalf("find the API server's addresses: %v", err)
	}
	for _, s := range slices.Items {
		for _, e := range s.Endpoints {
			for _, ip := range e.Addresses {
				all = append(all, door{ip, ip, []string{fmt.Sprint(*s.Ports[0].Port)}})
			}
		}
	}
	if len(all) < 2 {
		t.Fatal("the Service kubernetes has no endpoints")
	}
	return all
}

// kubelets are those of all nodes.
func (c *cluster) kubelets(t *testing.T) []door {
	t.Helper()
	nodes, err := c.api.CoreV1().Nodes().List(t.Context(), meta.ListOptions{})
	if err != nil {
		t.Fatalf("find the nodes: %v", err)
	}
	var all []door
	for _, n := range nodes.Items {
		for _, a := range n.Status.Addresses {
			if a.Type == core.NodeInternalIP {
				all = append(all, door{"node " + n.Name, a.Address, []string{fmt.Sprint(n.Status.DaemonEndpoints.KubeletEndpoint.Port)}})
			}
		}
	}
	if len(all) == 0 {
		t.Fatal("no node has an address")
	}
	return all
}
