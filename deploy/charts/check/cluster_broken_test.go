package check

import (
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	network "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// TestClusterChecksFindWhatIsBroken breaks one thing at a time.
func TestClusterChecksFindWhatIsBroken(t *testing.T) {
	for _, c := range []struct {
		check, want string
		mutate      func(*testing.T, System)
	}{
		{"images", "nobody builds image \"seatrial/apy:dev\"", func(t *testing.T, s System) {
			container(t, s, "api", "api").Image = "seatrial/apy:dev"
		}},
		{"images", "container coredns may pull its image", func(t *testing.T, s System) {
			deployment(t, s, "coredns").Spec.Template.Spec.Containers[0].ImagePullPolicy = core.PullAlways
		}},
		{"images", "seatrial's prometheus: container config-reloader: nobody builds image \"\"", func(t *testing.T, s System) {
			deployment(t, s, "prometheus-operator").Spec.Template.Spec.Containers[0].Args = nil
		}},
		{"cpu", "more than 1700m", func(t *testing.T, s System) {
			container(t, s, "worker", "worker").Resources.Requests[core.ResourceCPU] = resource.MustParse("500m")
		}},
		{"asking", "container prometheus asks for no CPU", func(t *testing.T, s System) {
			delete(Of[*monitoring.Prometheus](s)[0].Spec.Resources.Requests, core.ResourceCPU)
		}},
		{"volumes", "claim data-nats-2 (5Gi) finds no volume", func(t *testing.T, s System) {
			set := named(t, Of[*apps.StatefulSet](s), "nats")
			set.Spec.VolumeClaimTemplates[0].Spec.Resources.Requests[core.ResourceStorage] = resource.MustParse("5Gi")
		}},
		{"volumes", "claim data-valkey-0 (4Gi) finds no volume", func(t *testing.T, s System) {
			set := named(t, Of[*apps.StatefulSet](s), "valkey")
			set.Spec.VolumeClaimTemplates[0].Spec.StorageClassName = nil
		}},
		{"peers", "NetworkPolicy seatrial/dns names somebody who is not there: k8s-app=coredns", func(t *testing.T, s System) {
			policyOf(t, s, "dns").Spec.Egress[0].To[0].PodSelector.MatchLabels["k8s-app"] = "coredns"
		}},
		{"peers", "NetworkPolicy seatrial/metrics names somebody", func(t *testing.T, s System) {
			policyOf(t, s, "metrics").Spec.Ingress[0].From[0].NamespaceSelector.MatchLabels[core.LabelMetadataName] = "prometheus"
		}},
		{"peers", "NetworkPolicy seatrial/api names somebody who is not there: app=gateway", func(t *testing.T, s System) {
			rule := &policyOf(t, s, "api").Spec.Ingress[0]
			peer := network.NetworkPolicyPeer{PodSelector: rule.From[0].PodSelector.DeepCopy()}
			peer.PodSelector.MatchExpressions, peer.PodSelector.MatchLabels = nil, map[string]string{"app": "gateway"}
			rule.From = append(rule.From, peer)
		}},
		{"security", "Deployment prometheus-operator: Pod Security", func(t *testing.T, s System) {
			deployment(t, s, "prometheus-operator").Spec.Template.Spec.SecurityContext.RunAsNonRoot = nil
		}},
		{"dns", "the DNS service is at 198.19.0.11", func(t *testing.T, s System) {
			named(t, Of[*core.Service](s), "kube-dns").Spec.ClusterIP = "198.19.0.11"
		}},
		{"dns", "Service kube-dns: Deployment coredns has no port dns-tcp", func(t *testing.T, s System) {
			deployment(t, s, "coredns").Spec.Template.Spec.Containers[0].Ports = deployment(t, s, "coredns").Spec.Template.Spec.Containers[0].Ports[:1]
		}},
		{"spare", "volume volume-3 is on node [other]", func(t *testing.T, s System) {
			v := named(t, Of[*core.PersistentVolume](s), "volume-3")
			v.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Values = []string{"other"}
		}},
		{"spare", "10 volumes share 9 folders", func(t *testing.T, s System) {
			named(t, Of[*core.PersistentVolume](s), "volume-3").Spec.Local.Path = named(t, Of[*core.PersistentVolume](s), "volume-4").Spec.Local.Path
		}},
		{"observed", "Prometheus scrapes every 30s", func(t *testing.T, s System) {
			Of[*monitoring.Prometheus](s)[0].Spec.ScrapeInterval = "30s"
		}},
		{"observed", "Prometheus puts labels of its own on alerts", func(t *testing.T, s System) {
			Of[*monitoring.Prometheus](s)[0].Spec.ReplicaExternalLabelName = nil
		}},
		{"observed", "series end with their pod's address", func(t *testing.T, s System) {
			Of[*monitoring.Prometheus](s)[0].Spec.ScrapeClasses[0].Default = nil
		}},
		{"observed", "does not look for PrometheusRules", func(t *testing.T, s System) {
			Of[*monitoring.Prometheus](s)[0].Spec.RuleSelector = nil
		}},
		{"observed", "Prometheus is configured as v2.55.0, v3.", func(t *testing.T, s System) {
			Of[*monitoring.Prometheus](s)[0].Spec.Version = "v2.55.0"
		}},
		{"observed", "Alertmanager's Secret is not deploy/rules", func(t *testing.T, s System) {
			named(t, Of[*core.Secret](s), "alertmanager-seatrial").StringData["alertmanager.yaml"] += "\n"
		}},
		{"server", "lets pods reach 192.0.2.1/32, the API server is 198.19.255.1/32", func(t *testing.T, s System) {
			for _, p := range Of[*network.NetworkPolicy](s) {
				for _, rule := range p.Spec.Egress {
					for _, peer := range rule.To {
						if peer.IPBlock != nil {
							peer.IPBlock.CIDR = "192.0.2.1/32"
						}
					}
				}
			}
		}},
		{"queue", "nobody is started with --nfqueue-id=98", func(t *testing.T, s System) {
			named(t, Of[*apps.DaemonSet](s), "kube-network-policies").Spec.Template.Spec.Containers[0].Args[1] = "--nfqueue-id=100"
		}},
	} {
		t.Run(c.check+"/"+c.want, func(t *testing.T) {
			s := cluster(t)
			c.mutate(t, s)
			problems := clusterChecks[c.check](s)
			if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, c.want) }) {
				t.Errorf("want a problem with %q, have %q", c.want, problems)
			}
		})
	}
}
