package main

import (
	"path/filepath"

	"seatrial/deploy/cluster/image"
)

// archive is a file with images that are made of the same things.
type archive struct {
	name   string
	images []image.Spec
}

// nobody is who the images run as, where they need not be root.
const nobody = 65532

var path = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

// archives is everything that runs on the cluster.
func archives(deps, bin string) []archive {
	cluster := filepath.Join(deps, "cluster")
	return []archive{
		{"system", system(deps, bin)},
		{"platform", platform(deps, filepath.Join(cluster, "bin"))},
		{"debian", debian(deps, filepath.Join(cluster, "root"))},
	}
}

// system is what the charts of this project run, as deploy/images makes it.
func system(deps, bin string) (all []image.Spec) {
	for _, command := range []string{"api", "worker", "nats-exporter", "loadgen", "seatrial"} {
		all = append(all, image.Spec{
			Name: "seatrial/" + command + ":dev", User: "65532:65532", Dir: "/data", Entrypoint: []string{"/command"}, Env: path,
			Layers: [][]image.File{{
				{Path: "/command", From: filepath.Join(bin, command)},
				{Path: "/data", Owner: nobody},
				{Path: "/tmp", Owner: nobody},
			}},
		})
	}
	return append(all, single("valkey-exporter", "65532:65532", filepath.Join(deps, "bin", "valkey-exporter"), "/valkey-exporter"))
}

// platform is what the cluster itself runs.
func platform(deps, bin string) (all []image.Spec) {
	for _, program := range []string{"coredns", "metrics-server", "prometheus-operator", "prometheus-config-reloader", "prometheus"} {
		all = append(all, single(program, "65532:65532", filepath.Join(bin, program), "/bin/"+program)) // where the operator looks
	}
	return append(all,
		single("pause", "65535:65535", filepath.Join(bin, "sandbox"), "/usr/local/bin/pause"),
		single("alertmanager", "65532:65532", filepath.Join(deps, "bin", "alertmanager"), "/bin/alertmanager"),
		// These two need root: one for the node's queue of packets, one because its chart gives it port 443 or so.
		single("kube-network-policies", "", filepath.Join(bin, "kube-network-policies"), "/usr/local/bin/kube-network-policies"),
		single("chaos-mesh", "", filepath.Join(bin, "chaos-controller-manager"), "/usr/local/bin/chaos-controller-manager"))
}

func single(name, user, from, to string) image.Spec {
	return image.Spec{
		Name: "seatrial/" + name + ":dev", User: user, Entrypoint: []string{to}, Env: path,
		Layers: [][]image.File{{{Path: to, From: from}, {Path: "/tmp", Owner: nobody}}},
	}
}

// debian is what needs a whole Debian root, the same for all.
func debian(deps, root string) []image.Spec {
	bin := filepath.Join(deps, "cluster", "bin")
	base := []image.File{{Path: "/", From: root}}
	local := func(name, from string) image.File {
		return image.File{Path: "/usr/local/bin/" + name, From: filepath.Join(bin, from)}
	}
	return []image.Spec{
		{
			Name: "seatrial/valkey:dev", User: "65532:65532", Dir: "/", Entrypoint: []string{"/bin/sh"}, Env: path,
			Layers: [][]image.File{base},
		},
		{
			Name: "seatrial/nats:dev", User: "65532:65532", Dir: "/", Entrypoint: []string{"/bin/sh"}, Env: path,
			Layers: [][]image.File{base, {
				{Path: "/usr/local/bin/nats-server", From: filepath.Join(deps, "bin", "nats-server")},
				// For helm test, and for whoever looks into the network from a pod.
				{Path: "/usr/local/bin/wget", Link: "/bin/busybox"},
				{Path: "/usr/local/bin/nc", Link: "/bin/busybox"},
			}},
		},
		{
			Name: "seatrial/chaos-daemon:dev", Entrypoint: []string{"/usr/local/bin/chaos-daemon"}, Env: path,
			Layers: [][]image.File{base, {
				local("chaos-daemon", "chaos-daemon"), local("cdh", "chaos-daemon-helper"),
				local("nsexec", "nsexec"), local("pause", "pause"), local("memStress", "memstress"),
				{Path: "/usr/local/sbin/iptables", Link: "/usr/sbin/iptables-legacy"},
				{Path: "/usr/local/sbin/iptables-save", Link: "/usr/sbin/iptables-legacy-save"},
				{Path: "/usr/local/sbin/iptables-restore", Link: "/usr/sbin/iptables-legacy-restore"},
				{Path: "/usr/local/sbin/ip6tables", Link: "/usr/sbin/ip6tables-legacy"},
			}},
		},
	}
}
