package proof

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	core "k8s.io/api/core/v1"
	network "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// patience is how long a connection may take. Two answers to a lost first packet fit in.
const patience = 4

// rounds is how often a connection that is not as it should be is tried again: policies
// reach the node a moment after their objects and their pods' addresses do.
const rounds = 4

// TestNetworkPolicies tries every pair of pods on every port, in both directions, and the way
// from every pod to the API server and kubelet: what deploy/charts/flows.yaml lists connects,
// nothing else does. Then it opens one flow more, to see that it would be found.
func TestNetworkPolicies(t *testing.T) { connect(t).provePolicies(t, homeOfSystem) }

// TestVerifierPolicies tries the same of the verifier's namespace and its list of flows.
func TestVerifierPolicies(t *testing.T) { connect(t).provePolicies(t, homeOfVerifier) }

func (c *cluster) provePolicies(t *testing.T, h home) {
	n := readNeeds(t, h.flows)
	ends := c.gather(t, h, n)
	c.unhindered(t, ends)

	tries := c.settle(t, n.Flows, pairs(h.namespace, ends))
	for _, problem := range wrong(n.Flows, tries) {
		t.Error(problem)
	}
	for _, e := range ends {
		if len(e.pods) > 0 {
			c.canConnect(t, h, e, ends, tries)
		}
	}
	c.keep(t, h.evidence, tries, fmt.Sprintf("# NetworkPolicies of namespace %s by connections\n\n%d connections between %d kinds of pods and programs of the node. "+
		"open: connected, ·: no answer within %d s, empty: the same pod, or none of the policies' business. "+
		"Port %s is nobody's: a listener was put behind it.\n\n%s", h.namespace, len(tries), len(ends), patience, nobody, matrix(tries)))
	if t.Failed() {
		return
	}
	c.breach(t, h, n.Flows, ends)
}

// pair is a connection to try: the sender's pod and the try without its result.
type pair struct {
	from end
	ip   string
	try
}

// pairs lists every connection from one pod of each kind to every other pod, and to the node's
// programs, on every port, as far as it is the policies' business: one of both is at home.
func pairs(home string, ends []end) []pair {
	var all []pair
	for _, from := range ends {
		for _, to := range ends {
			if from.namespace == home || to.namespace == home {
				all = append(all, between(from, to)...)
			}
		}
	}
	return all
}

// between lists the connections from one end's first pod to another end. The node's programs are let in
// everywhere, whatever policies say, and are no senders.
func between(from, to end) []pair {
	var all []pair
	for _, d := range to.doors() {
		if len(from.pods) == 0 || d.ip == from.pods[0].Status.PodIP {
			continue
		}
		for _, port := range d.ports {
			all = append(all, pair{from, d.ip, try{From: from.name, To: to.name, Pod: d.name, Port: port}})
		}
	}
	return all
}

// settle tries connections until they are as they should be, some rounds at most;
// only what is not is tried again. The last result stands.
func (c *cluster) settle(t *testing.T, flows []string, todo []pair) []try {
	t.Helper()
	final := map[[4]string]try{}
	for round := 1; round <= rounds && len(todo) > 0; round++ {
		if round > 1 {
			t.Logf("round %d: %d connections are not as they should be", round, len(todo))
			time.Sleep(2 * time.Second)
		}
		tries, err := c.connectAll(t.Context(), todo)
		if err != nil {
			t.Fatal(err)
		}
		var again []pair
		for i, try := range tries {
			final[[4]string{try.From, try.To, try.Pod, try.Port}] = try
			needed := slices.Contains(flows, try.flow())
			if needed != (try.Seen == open) || try.Seen == refused {
				again = append(again, todo[i])
			}
		}
		todo = again
	}
	var all []try
	for _, try := range final {
		all = append(all, try)
	}
	slices.SortFunc(all, func(a, b try) int { return strings.Compare(a.flow()+a.Pod, b.flow()+b.Pod) })
	return all
}

// connectAll tries all pairs, each sender its own in one go, and returns them with
// what was seen, in their order.
func (c *cluster) connectAll(ctx context.Context, all []pair) ([]try, error) {
	tries := make([]try, len(all))
	bySender := map[string][]int{}
	for i, p := range all {
		bySender[p.from.name] = append(bySender[p.from.name], i)
	}
	var group errgroup.Group
	group.SetLimit(8)
	for _, mine := range bySender {
		group.Go(func() error {
			from := all[mine[0]].from
			out, err := c.exec(ctx, from.namespace, from.pods[0].Name, from.container, script(all, mine))
			if err != nil {
				return err
			}
			seen := map[string]string{}
			for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
				if number, result, ok := strings.Cut(lines.Text(), " "); ok {
					seen[number] = result
				}
			}
			for _, i := range mine {
				tries[i] = all[i].try
				if tries[i].Seen = seen[fmt.Sprint(i)]; tries[i].Seen == "" {
					return fmt.Errorf("connect from %s: nothing was said of %s: %.300s", from.name, all[i].flow(), out)
				}
			}
			return nil
		})
	}
	return tries, group.Wait()
}

// script connects to each pair's address and prints its number and what came of it. A
// UDP port is asked a question of DNS: nothing else there shows that somebody is.
func script(all []pair, mine []int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `tcp() { e=$(timeout %d nc -w %d $2 $3 -e true 2>&1) && r=open || case "$e" in *refused*) r=refused;; *) r=silent;; esac; echo "$1 $r"; }
udp() { timeout %d busybox nslookup -type=a kubernetes.default.svc.cluster.local $2 >/dev/null 2>&1 && r=open || r=silent; echo "$1 $r"; }
`, patience+1, patience, patience)
	for n, i := range mine {
		port, udp := strings.CutSuffix(all[i].Port, "/udp")
		kind := "tcp"
		if udp {
			kind = "udp"
		}
		fmt.Fprintf(&b, "%s %d %s %s &\n", kind, i, all[i].ip, port)
		if n%30 == 29 {
			b.WriteString("wait\n") // the pod's memory is the system's
		}
	}
	b.WriteString("wait\n")
	return b.String()
}

// unhindered sees that the node's programs answer whom no policy hinders: silence for others is
// then the policies' doing.
func (c *cluster) unhindered(t *testing.T, ends []end) {
	t.Helper()
	free := slices.IndexFunc(ends, func(e end) bool { return e.name == "impostor" })
	if free < 0 {
		t.Fatal("nobody is tried who is outside of all policies")
	}
	var todo []pair
	for _, to := range ends {
		if len(to.pods) == 0 {
			todo = append(todo, between(ends[free], to)...)
		}
	}
	var flows []string
	for _, p := range todo {
		flows = append(flows, p.flow())
	}
	if len(todo) == 0 {
		t.Fatal("no program of the node is tried")
	}
	for _, problem := range wrong(flows, c.settle(t, flows, todo)) {
		t.Errorf("no policy speaks of it: %s", problem)
	}
}

// canConnect sees that who is silent is not just broken: an end has a connection that is open,
// to somebody outside if it has none at home, or is at least connected to. Strangers at home may have
// none; a door is opened to them by the breach.
func (c *cluster) canConnect(t *testing.T, h home, e end, ends []end, tries []try) {
	t.Helper()
	opened := func(is func(try) bool) bool {
		return slices.ContainsFunc(tries, func(try try) bool { return try.Seen == open && is(try) })
	}
	if e.name == "stranger" || opened(func(try try) bool { return try.From == e.name }) {
		return
	}
	if e.namespace != h.namespace {
		var todo []pair
		for _, to := range ends {
			if to.namespace != h.namespace {
				todo = append(todo, between(e, to)...)
			}
		}
		outside, err := c.connectAll(t.Context(), todo)
		if err == nil && slices.ContainsFunc(outside, func(try try) bool { return try.Seen == open }) {
			return
		}
	}
	if !opened(func(try try) bool { return try.To == e.name }) {
		t.Errorf("%s reaches nobody at all: that it does not reach others proves nothing", e.name)
	}
}

// breach lets a stranger reach a kind on nobody's port, and expects the proof to say so of
// every pod of that kind and of nothing else, until the door is shut again.
func (c *cluster) breach(t *testing.T, h home, flows []string, ends []end) {
	t.Helper()
	var mine []pair
	var want []string
	for _, p := range pairs(h.namespace, ends) {
		if p.From == "stranger" {
			mine = append(mine, p)
		}
		if p.From == "stranger" && p.To == h.breached && p.Port == nobody {
			want = append(want, fmt.Sprintf("open, and nobody needs it: stranger->%s:%s (pod %s)", h.breached, nobody, p.Pod))
		}
	}
	strangers := slices.DeleteFunc(slices.Clone(flows), func(f string) bool { return !strings.HasPrefix(f, "stranger->") })
	slices.Sort(want)
	shut := c.openDoor(t, h)
	found := c.await(t, mine, strangers, want)
	t.Logf("with a policy too many the proof says: %q", found)
	if err := shut(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.await(t, mine, strangers, nil)
}

// await tries pairs until exactly these problems are found.
func (c *cluster) await(t *testing.T, mine []pair, flows, want []string) []string {
	t.Helper()
	var found []string
	c.eventually(t, time.Minute, fmt.Sprintf("the proof finds %q", want), func(ctx context.Context) error {
		tries, err := c.connectAll(ctx, mine)
		if err != nil {
			return err
		}
		if found = wrong(flows, tries); !slices.Equal(found, want) {
			return fmt.Errorf("it found %q", found)
		}
		return nil
	})
	return found
}

// openDoor allows strangers to reach the breached kind on nobody's port. It is shut by the
// returned function, and at the end of the test.
func (c *cluster) openDoor(t *testing.T, h home) (shut func(context.Context) error) {
	t.Helper()
	peer := func(app string) network.NetworkPolicyPeer {
		return network.NetworkPolicyPeer{PodSelector: &meta.LabelSelector{MatchLabels: map[string]string{"app": app}}}
	}
	port := []network.NetworkPolicyPort{{Protocol: ptr(core.ProtocolTCP), Port: ptr(intstr.Parse(nobody))}}
	policies := c.api.NetworkingV1().NetworkPolicies(h.namespace)
	for _, p := range []network.NetworkPolicy{
		{ObjectMeta: meta.ObjectMeta{Name: "proof-breach-in"}, Spec: network.NetworkPolicySpec{
			PodSelector: *peer(h.breached).PodSelector, PolicyTypes: []network.PolicyType{network.PolicyTypeIngress},
			Ingress: []network.NetworkPolicyIngressRule{{From: []network.NetworkPolicyPeer{peer("stranger")}, Ports: port}}}},
		{ObjectMeta: meta.ObjectMeta{Name: "proof-breach-out"}, Spec: network.NetworkPolicySpec{
			PodSelector: *peer("stranger").PodSelector, PolicyTypes: []network.PolicyType{network.PolicyTypeEgress},
			Egress: []network.NetworkPolicyEgressRule{{To: []network.NetworkPolicyPeer{peer(h.breached)}, Ports: port}}}},
	} {
		if _, err := policies.Create(t.Context(), &p, meta.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	shut = func(ctx context.Context) error {
		return errors.Join(gone(policies.Delete(ctx, "proof-breach-in", meta.DeleteOptions{})),
			gone(policies.Delete(ctx, "proof-breach-out", meta.DeleteOptions{})))
	}
	cleanup(t, "delete the policies proof-breach-in and proof-breach-out", shut)
	return shut
}
