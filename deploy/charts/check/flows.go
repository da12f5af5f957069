package check

import (
	"fmt"
	"slices"

	core "k8s.io/api/core/v1"
	network "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// End is one side of a connection: a pod of the system or somebody else.
type End struct {
	Name      string
	Namespace string // "" is outside of the cluster
	Labels    labels.Set
	Ports     []core.ContainerPort // what is tried
}

// nobody is a port on which nothing listens: a policy that lets it through is too wide.
var nobody = core.ContainerPort{Name: "nobody", ContainerPort: 9999}

// Ends lists the system's pods, one of each kind.
func (s System) Ends() []End {
	var all []End
	for _, p := range s.Pods() {
		e := End{Name: p.App(), Namespace: Namespace, Labels: p.Meta.Labels, Ports: []core.ContainerPort{nobody}}
		for _, c := range p.Spec.Containers {
			e.Ports = append(e.Ports, c.Ports...)
		}
		all = append(all, e)
	}
	return all
}

// Flows tries every pair of ends in both directions, on every port, and lists what the
// policies let through as "from -> to:port". Who comes from an end to the same end
// is another pod of the same kind. An end without a policy of its own is free.
func (s System) Flows(ends []End) ([]string, error) {
	policies := Of[*network.NetworkPolicy](s)
	home := func(e End) bool {
		return slices.ContainsFunc(policies, func(p *network.NetworkPolicy) bool { return p.Namespace == e.Namespace })
	}
	var open []string
	for _, from := range ends {
		for _, to := range ends {
			for _, port := range to.Ports {
				out, err := allowed(policies, network.PolicyTypeEgress, from, to, port)
				if err != nil {
					return nil, err
				}
				in, err := allowed(policies, network.PolicyTypeIngress, from, to, port)
				if err != nil {
					return nil, err
				}
				// Pods of namespaces without a policy are their own business among themselves.
				if out && in && (home(from) || home(to)) {
					open = append(open, fmt.Sprintf("%s -> %s:%d%s", from.Name, to.Name, port.ContainerPort, suffix(port)))
				}
			}
		}
	}
	slices.Sort(open)
	return slices.Compact(open), nil
}

func suffix(p core.ContainerPort) string {
	if p.Protocol == core.ProtocolUDP {
		return "/udp"
	}
	return ""
}

// allowed tells whether the policies of one direction let a connection through: those of
// the sender's namespace for egress, of the receiver's for ingress.
func allowed(policies []*network.NetworkPolicy, direction network.PolicyType, from, to End, port core.ContainerPort) (bool, error) {
	self, other := to, from
	if direction == network.PolicyTypeEgress {
		self, other = from, to
	}
	isolated := false
	for _, p := range policies {
		if p.Namespace != self.Namespace || !slices.Contains(p.Spec.PolicyTypes, direction) {
			continue
		}
		chosen, err := meta.LabelSelectorAsSelector(&p.Spec.PodSelector)
		if err != nil {
			return false, fmt.Errorf("policy %s: %w", p.Name, err)
		}
		if !chosen.Matches(self.Labels) {
			continue
		}
		isolated = true
		for _, r := range rules(p, direction) {
			ok, err := r.lets(p.Namespace, other, port)
			if err != nil {
				return false, fmt.Errorf("policy %s: %w", p.Name, err)
			}
			if ok {
				return true, nil
			}
		}
	}
	return !isolated, nil
}

// rule is an ingress or an egress rule.
type rule struct {
	peers []network.NetworkPolicyPeer
	ports []network.NetworkPolicyPort
}

func rules(p *network.NetworkPolicy, direction network.PolicyType) []rule {
	var all []rule
	if direction == network.PolicyTypeEgress {
		for _, r := range p.Spec.Egress {
			all = append(all, rule{r.To, r.Ports})
		}
		return all
	}
	for _, r := range p.Spec.Ingress {
		all = append(all, rule{r.From, r.Ports})
	}
	return all
}

func (r rule) lets(namespace string, other End, port core.ContainerPort) (bool, error) {
	if len(r.ports) > 0 && !slices.ContainsFunc(r.ports, func(p network.NetworkPolicyPort) bool { return covers(p, port) }) {
		return false, nil
	}
	for _, p := range r.peers {
		ok, err := meets(p, namespace, other)
		if err != nil || ok {
			return ok, err
		}
	}
	return len(r.peers) == 0, nil
}

func covers(p network.NetworkPolicyPort, port core.ContainerPort) bool {
	want, is := core.ProtocolTCP, core.ProtocolTCP
	if p.Protocol != nil {
		want = *p.Protocol
	}
	if port.Protocol != "" {
		is = port.Protocol
	}
	switch {
	case want != is:
		return false
	case p.Port == nil:
		return true
	case p.Port.Type == intstr.String:
		return p.Port.StrVal == port.Name
	case p.EndPort != nil:
		return port.ContainerPort >= p.Port.IntVal && port.ContainerPort <= *p.EndPort
	}
	return p.Port.IntVal == port.ContainerPort
}

// meets tells whether a peer's selectors match. Blocks of addresses are not judged: which
// pods would be in one cannot be told without a cluster.
func meets(p network.NetworkPolicyPeer, namespace string, other End) (bool, error) {
	if p.IPBlock != nil {
		return false, fmt.Errorf("address block %s: who is in it cannot be told", p.IPBlock.CIDR)
	}
	if other.Namespace == "" {
		return false, nil
	}
	if p.NamespaceSelector == nil {
		if other.Namespace != namespace {
			return false, nil
		}
	} else {
		chosen, err := meta.LabelSelectorAsSelector(p.NamespaceSelector)
		if err != nil {
			return false, err
		}
		if !chosen.Matches(labels.Set{"kubernetes.io/metadata.name": other.Namespace}) {
			return false, nil
		}
	}
	if p.PodSelector == nil {
		return true, nil
	}
	chosen, err := meta.LabelSelectorAsSelector(p.PodSelector)
	return err == nil && chosen.Matches(other.Labels), err
}
