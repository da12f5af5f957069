package node

import (
	"fmt"
	"os"
	"path/filepath"
)

// program is one of the processes that make the node.
type program struct {
	name string
	argv []string
}

// binDir, imageDir and pki are where the node sees what it is made from.
const (
	binDir   = "/opt/seatrial/bin"
	imageDir = "/opt/seatrial/images"
	pki      = "/etc/kubernetes"
	logDir   = "/var/log/seatrial"
)

// programs in the order in which they are started; none waits for another, as
// each tries again until the one that it needs is there.
func programs() []program {
	own := func(name string, args ...string) program {
		return program{name, append([]string{filepath.Join(binDir, name)}, args...)}
	}
	return []program{
		own("etcd", "--name=seatrial", "--data-dir=/var/lib/etcd",
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
			"--initial-cluster=seatrial=http://127.0.0.1:2380", "--log-level=warn"),
		{"containerd", []string{"/usr/bin/containerd", "--config=/etc/containerd/config.toml", "--log-level=warn"}},
		own("kube-apiserver", apiserver()...),
		own("kube-controller-manager",
			"--kubeconfig="+pki+"/controller-manager.conf", "--use-service-account-credentials",
			"--service-account-private-key-file="+pki+"/service-account.key", "--root-ca-file="+pki+"/ca.crt",
			"--cluster-signing-cert-file="+pki+"/ca.crt", "--cluster-signing-key-file="+pki+"/ca.key",
			"--allocate-node-cidrs", "--cluster-cidr="+podRange, "--service-cluster-ip-range="+serviceRange,
			"--bind-address=127.0.0.1", "--leader-elect=false",
			// As a person would like to see them act; the defaults are for thousands of pods.
			"--horizontal-pod-autoscaler-sync-period=5s", "--horizontal-pod-autoscaler-downscale-stabilization=30s",
			"--horizontal-pod-autoscaler-initial-readiness-delay=5s", "--horizontal-pod-autoscaler-cpu-initialization-period=30s"),
		own("kube-scheduler", "--kubeconfig="+pki+"/scheduler.conf", "--bind-address=127.0.0.1", "--leader-elect=false"),
		own("kubelet", "--config=/etc/kubernetes/kubelet.yaml", "--kubeconfig="+pki+"/kubelet.conf",
			"--hostname-override="+Name, "--node-ip="+Address, "--root-dir=/var/lib/kubelet"),
		own("kube-proxy", "--config=/etc/kubernetes/kube-proxy.yaml", "--hostname-override="+Name),
	}
}

func apiserver() []string {
	return []string{
		"--etcd-servers=http://127.0.0.1:2379", "--advertise-address=" + Address, "--secure-port=6443",
		"--service-cluster-ip-range=" + serviceRange, "--allow-privileged", "--authorization-mode=Node,RBAC",
		"--client-ca-file=" + pki + "/ca.crt",
		"--tls-cert-file=" + pki + "/apiserver.crt", "--tls-private-key-file=" + pki + "/apiserver.key",
		"--kubelet-client-certificate=" + pki + "/apiserver-kubelet.crt",
		"--kubelet-client-key=" + pki + "/apiserver-kubelet.key",
		"--kubelet-certificate-authority=" + pki + "/ca.crt", "--kubelet-preferred-address-types=InternalIP",
		"--service-account-key-file=" + pki + "/service-account.crt",
		"--service-account-signing-key-file=" + pki + "/service-account.key",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		// The aggregator, for the metrics API.
		"--requestheader-client-ca-file=" + pki + "/front-proxy-ca.crt", "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + pki + "/front-proxy.crt", "--proxy-client-key-file=" + pki + "/front-proxy.key",
		"--enable-aggregator-routing",
	}
}

// settings are the files that the programs read, by their path in the node.
var settings = map[string]string{
	"/etc/hosts":         "127.0.0.1 localhost\n" + Address + " " + Name + "\n",
	"/etc/hostname":      Name + "\n",
	"/etc/resolv.conf":   "# no DNS leads out of the node\n",
	"/etc/machine-id":    "5ea5ea5ea5ea5ea5ea5ea5ea5ea5ea5e\n",
	"/etc/nsswitch.conf": "hosts: files dns\n",
	"/etc/containerd/config.toml": `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "seatrial/pause:dev"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "crun"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun.options]
        BinaryName = "crun"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
`,
	// Point to point, not a bridge: packets between two pods then pass the node's
	// netfilter, where network policies are enforced.
	"/etc/cni/net.d/10-seatrial.conflist": `{
  "cniVersion": "0.4.0", "name": "seatrial",
  "plugins": [
    {"type": "ptp", "ipMasq": false, "mtu": 1500,
     "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam", "ranges": [[{"subnet": "` + nodePods + `"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`,
	pki + "/kubelet.yaml": `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: ` + pki + `/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: ` + pki + `/kubelet-server.crt
tlsPrivateKeyFile: ` + pki + `/kubelet-server.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDNS: [` + dnsAddress + `]
clusterDomain: cluster.local
resolvConf: /etc/resolv.conf
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
oomScoreAdj: 0
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 200Mi, nodefs.available: 1%, imagefs.available: 1%}
# A trial is over in a minute; what the pods' state is must be known in seconds.
nodeStatusUpdateFrequency: 10s
syncFrequency: 10s
containerLogMaxSize: 50Mi
serializeImagePulls: false
`,
	pki + "/kube-proxy.yaml": `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: ` + podRange + `
clientConnection: {kubeconfig: ` + pki + `/kube-proxy.conf}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
nftables: {syncPeriod: 10s, minSyncPeriod: 200ms}
oomScoreAdj: 0
`,
}

// writeSettings puts the settings under root.
func writeSettings(root string) error {
	for path, text := range settings {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make the folder of %s: %w", path, err)
		}
		_ = os.Remove(path) // it may be a link to somewhere outside
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write settings: %w", err)
		}
	}
	return nil
}
