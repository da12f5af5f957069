//go:build linux

package local

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"seatrial/deploy/local/pod"
)

// Namespace is the namespace that every pod of the system is in.
const Namespace = "seatrial"

// Addresses of the virtual network, out of 198.18.0.0/15, which RFC 2544 sets
// aside for benchmarks.
var (
	nodeAddr = netip.MustParseAddr("198.18.0.1")
	apiVIP   = netip.MustParseAddrPort("198.19.0.1:80")
)

const (
	apiPort = 8080
	replica = 3 // NATS servers, Valkey servers
	pair    = 2 // APIs, workers
)

// addr returns the address of the n-th pod of a group.
func addr(group byte, n int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18, group, byte(10 + n)})
}

func natsAddr(n int) netip.Addr   { return addr(1, n) }
func valkeyAddr(n int) netip.Addr { return addr(2, n) }
func apiAddr(n int) netip.Addr    { return addr(3, n) }
func workerAddr(n int) netip.Addr { return addr(4, n) }

var (
	prometheusAddr   = addr(5, 0)
	alertmanagerAddr = addr(5, 1)
	loadgenAddr      = addr(6, 0)
)

// plan returns every pod of the system: what the design's picture shows.
func (t *Testbed) plan() []pod.Spec {
	var pods []pod.Spec
	for n := range replica {
		pods = append(pods, t.natsPod(n), t.valkeyPod(n))
	}
	for n := range pair {
		pods = append(pods, t.apiPod(n), t.workerPod(n))
	}
	return append(pods, t.prometheusPod(), t.alertmanagerPod(), t.loadgenPod())
}

func labels(app string) map[string]string {
	return map[string]string{"app": app, "app.kubernetes.io/name": app, "app.kubernetes.io/part-of": "seatrial"}
}

// env is what every process gets: a PATH with the servers, and its pod's name
// and address, as Kubernetes' downward API would give them.
func (t *Testbed) env(name string, a netip.Addr, more ...string) []string {
	return append([]string{
		"PATH=" + filepath.Join(t.cfg.Deps, "bin") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + t.data(name),
		"POD_NAME=" + name, "POD_IP=" + a.String(),
		"SEATRIAL_POD=" + name,
	}, more...)
}

func (t *Testbed) data(pod string) string    { return filepath.Join(t.cfg.State, "data", pod) }
func (t *Testbed) script(path string) string { return filepath.Join(t.cfg.State, "deploy", path) }

func peers(app string, at func(int) netip.Addr) string {
	var all []string
	for n := range replica {
		all = append(all, fmt.Sprintf("%s-%d=%s", app, n, at(n)))
	}
	return "PEERS=" + strings.Join(all, ",")
}

func (t *Testbed) natsPod(n int) pod.Spec {
	name, a := fmt.Sprintf("nats-%d", n), natsAddr(n)
	return pod.Spec{
		Name: name, Labels: labels("nats"), Addr: a,
		Containers: []pod.Container{
			{Name: "nats", Restart: true, Command: []string{"/bin/sh", t.script("nats/start-nats.sh")},
				Env: t.env(name, a, peers("nats", natsAddr), "DATA_DIR="+t.data(name), "NATS_SERVER="+t.binary("nats-server"))},
			{Name: "exporter", Restart: true, Command: []string{t.binary("nats-exporter")}, Env: t.env(name, a)},
		},
		Ready: t.httpReady(a, 8222, "/healthz"),
	}
}

func (t *Testbed) valkeyPod(n int) pod.Spec {
	name, a := fmt.Sprintf("valkey-%d", n), valkeyAddr(n)
	env := t.env(name, a, peers("valkey", valkeyAddr), "DATA_DIR="+t.data(name), "QUORUM=2", "MASTER_NAME=seatrial",
		"VALKEY_SERVER="+t.binary("valkey-server"), "VALKEY_SENTINEL="+t.binary("valkey-sentinel"), "VALKEY_CLI="+t.binary("valkey-cli"))
	return pod.Spec{
		Name: name, Labels: labels("valkey"), Addr: a,
		Containers: []pod.Container{
			{Name: "valkey", Restart: true, Command: []string{"/bin/sh", t.script("valkey/start-valkey.sh")}, Env: env},
			{Name: "sentinel", Restart: true, Command: []string{"/bin/sh", t.script("valkey/start-sentinel.sh")}, Env: env},
			{Name: "exporter", Restart: true, Env: t.env(name, a),
				// Each command waits until what was written before it is in the log: INFO and the slow log are asked for, nothing else.
				Command: []string{t.binary("valkey-exporter"), "-redis.addr", "redis://" + a.String() + ":6379", "-connection-timeout", "1s",
					"-set-client-name=false", "-config-command", "-", "-exclude-latency-histogram-metrics"}},
		},
		Ready: t.valkeyReady(a),
	}
}

// services is the environment that both of our services need.
func (t *Testbed) services(name string, a netip.Addr, more ...string) []string {
	var urls, sentinels []string
	for n := range replica {
		urls = append(urls, fmt.Sprintf("nats://%s:4222", natsAddr(n)))
		sentinels = append(sentinels, fmt.Sprintf("%s:26379", valkeyAddr(n)))
	}
	return t.env(name, a, append([]string{
		"SEATRIAL_NATS_URLS=" + strings.Join(urls, ","),
		"SEATRIAL_VALKEY_SENTINELS=" + strings.Join(sentinels, ","),
		"SEATRIAL_VALKEY_MASTER=seatrial",
	}, more...)...)
}

func (t *Testbed) apiPod(n int) pod.Spec {
	name, a := fmt.Sprintf("api-%d", n), apiAddr(n)
	return pod.Spec{
		Name: name, Labels: labels("api"), Addr: a,
		// Far more than it needs, and less than the machine has: a CPU stress in the pod starves it and not the machine.
		CPUs: 1, Memory: 256 << 20,
		Containers: []pod.Container{{Name: "api", Restart: true, Command: []string{t.binary("api")},
			Env: t.services(name, a, fmt.Sprintf("SEATRIAL_API_LISTEN=:%d", apiPort))}},
		Ready: t.httpReady(a, apiPort, "/readyz"),
	}
}

func (t *Testbed) workerPod(n int) pod.Spec {
	name, a := fmt.Sprintf("worker-%d", n), workerAddr(n)
	return pod.Spec{
		Name: name, Labels: labels("worker"), Addr: a,
		// Half a core, so that a CPU stress in the pod starves it and not the machine.
		CPUs: 0.5, Memory: 256 << 20,
		Containers: []pod.Container{{Name: "worker", Restart: true, Command: []string{t.binary("worker")},
			Env: t.services(name, a, "SEATRIAL_WORKER_LISTEN=:8000")}},
		Ready: t.httpReady(a, 8000, "/readyz"),
	}
}

func (t *Testbed) loadgenPod() pod.Spec {
	return pod.Spec{
		Name: "loadgen-0", Labels: labels("loadgen"), Addr: loadgenAddr,
		Containers: []pod.Container{{Name: "loadgen", Restart: true,
			Command: []string{t.binary("loadgen"), "serve", "--listen", ":8090", "--dir", t.data("loadgen-0")},
			Env:     t.env("loadgen-0", loadgenAddr)}},
		Ready: t.httpReady(loadgenAddr, 8090, "/healthz"),
	}
}

func (t *Testbed) prometheusPod() pod.Spec {
	return pod.Spec{
		Name: "prometheus-0", Labels: labels("prometheus"), Addr: prometheusAddr,
		Containers: []pod.Container{{Name: "prometheus", Restart: true, Env: t.env("prometheus-0", prometheusAddr),
			Command: []string{t.binary("prometheus"),
				"--config.file=" + t.script("prometheus.yaml"), "--storage.tsdb.path=" + t.data("prometheus-0"),
				"--storage.tsdb.retention.time=1d", "--web.listen-address=:9090", "--log.level=warn"}}},
		Ready: t.httpReady(prometheusAddr, 9090, "/-/ready"),
	}
}

func (t *Testbed) alertmanagerPod() pod.Spec {
	return pod.Spec{
		Name: "alertmanager-0", Labels: labels("alertmanager"), Addr: alertmanagerAddr,
		Containers: []pod.Container{{Name: "alertmanager", Restart: true, Env: t.env("alertmanager-0", alertmanagerAddr),
			Command: []string{t.binary("alertmanager"), "--config.file=" + t.script("rules/alertmanager.yaml"),
				"--storage.path=" + t.data("alertmanager-0"), "--web.listen-address=:9093", "--cluster.listen-address=", "--log.level=warn"}}},
		Ready: t.httpReady(alertmanagerAddr, 9093, "/-/ready"),
	}
}

// prometheusConfig scrapes every pod each second: trials last seconds.
func (t *Testbed) prometheusConfig() string {
	var b strings.Builder
	b.WriteString("global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n")
	fmt.Fprintf(&b, "rule_files: [%q]\n", t.script("rules/seatrial.rules.yaml"))
	fmt.Fprintf(&b, "alerting: {alertmanagers: [{static_configs: [{targets: [\"%s:9093\"]}]}]}\n", alertmanagerAddr)
	b.WriteString("scrape_configs:\n")
	job := func(name string, port, count int, at func(int) netip.Addr) {
		fmt.Fprintf(&b, "- job_name: %s\n  static_configs:\n", name)
		for n := range count {
			fmt.Fprintf(&b, "  - {targets: [\"%s:%d\"], labels: {pod: %s-%d, namespace: %s}}\n", at(n), port, name, n, Namespace)
		}
	}
	job("api", apiPort, pair, apiAddr)
	job("worker", 8000, pair, workerAddr)
	job("nats", 7777, replica, natsAddr)
	job("valkey", 9121, replica, valkeyAddr)
	job("loadgen", 8090, 1, func(int) netip.Addr { return loadgenAddr })
	return b.String()
}
