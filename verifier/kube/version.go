package kube

import (
	"context"
	"fmt"
	"strings"

	core "k8s.io/api/core/v1"
	semver "k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// component is the label by which Chaos Mesh's chart tells its parts apart.
const component = "app.kubernetes.io/component"

// Chaos Mesh's parts that a trial needs, by that label.
const (
	controllerPart = "controller-manager"
	daemonPart     = "chaos-daemon"
)

// oldest is the first Chaos Mesh whose daemon does not run anybody's commands.
var oldest = semver.MustParseSemantic("2.7.3")

// parseVersion reads "v2.8.3" or "2.8.0-rc.1"; nil is no version. Neither is 0.0.0, which
// a build from the repository says of itself. By the rules of semantic versions a release
// candidate comes before its release.
func parseVersion(text string) *semver.Version {
	v, err := semver.ParseSemantic(strings.TrimSpace(text))
	if err != nil || v.Major() == 0 && v.Minor() == 0 && v.Patch() == 0 {
		return nil
	}
	return v
}

// meshPod is what one of Chaos Mesh's pods says of its version. The image is what runs;
// the label is of the chart, which installs other images when it is told to.
type meshPod struct {
	name  string
	tags  []string // of the images
	label string
}

// version is the oldest of its tags, or its label where no tag is a version; nil for none.
func (p meshPod) version() *semver.Version {
	var least *semver.Version
	for _, tag := range p.tags {
		least = older(least, parseVersion(tag))
	}
	if least == nil {
		return parseVersion(p.label)
	}
	return least
}

// older is the older of two versions; nil is none.
func older(a, b *semver.Version) *semver.Version {
	if a == nil || b != nil && b.LessThan(a) {
		return b
	}
	return a
}

// acceptable returns the oldest version among Chaos Mesh's pods, and an error when it may
// not be used: one old daemon is enough for the hole. For pods that tell no version, what
// the user states counts.
func acceptable(pods []meshPod, stated string) (string, error) {
	var least *semver.Version
	var mute []meshPod
	for _, p := range pods {
		if v := p.version(); v != nil {
			least = older(least, v)
		} else {
			mute = append(mute, p)
		}
	}
	if len(mute) == 0 && least != nil {
		return least.String(), newEnough(least)
	}
	if stated == "" {
		return "", fmt.Errorf("Chaos Mesh does not tell its version%s; if it is %s or later, say which with --chaos-mesh-version", sayings(mute), oldest)
	}
	v := parseVersion(stated)
	if v == nil {
		return "", fmt.Errorf("--chaos-mesh-version %q: want a version such as 2.8.3", stated)
	}
	if least = older(least, v); least != v {
		return least.String(), newEnough(least)
	}
	return v.String() + " (as stated)", newEnough(v)
}

// sayings quotes the first of the pods that tell no version.
func sayings(mute []meshPod) string {
	if len(mute) == 0 {
		return ""
	}
	return fmt.Sprintf(" (pod %s has images tagged %q and the label %q)", mute[0].name, mute[0].tags, mute[0].label)
}

func newEnough(v *semver.Version) error {
	if v.LessThan(oldest) {
		return fmt.Errorf("Chaos Mesh %s lets every pod of the cluster run commands in any other (CVE-2025-59358, CVE-2025-59359, CVE-2025-59360, CVE-2025-59361): want %s or later", v, oldest)
	}
	return nil
}

// chaosMesh asks Chaos Mesh's own pods for its version: those that control, and the
// daemons, which have the hole.
func (t *Testbed) chaosMesh(ctx context.Context) (string, error) {
	var all []meshPod
	for _, part := range []string{controllerPart, daemonPart} {
		var pods core.PodList
		err := t.client.List(ctx, &pods, client.InNamespace(t.cfg.ChaosMeshNamespace), client.MatchingLabels{component: part})
		if err != nil {
			return "", fmt.Errorf("look for Chaos Mesh in namespace %s: %w", t.cfg.ChaosMeshNamespace, err)
		}
		if part == controllerPart && len(pods.Items) == 0 {
			return "", fmt.Errorf("no Chaos Mesh in namespace %s (no pod is labelled %s=%s); --chaos-mesh-namespace names another", t.cfg.ChaosMeshNamespace, component, part)
		}
		for i := range pods.Items {
			all = append(all, meshPodOf(&pods.Items[i]))
		}
	}
	return acceptable(all, t.cfg.ChaosMeshVersion)
}

func meshPodOf(p *core.Pod) meshPod {
	m := meshPod{name: p.Name, label: p.Labels["app.kubernetes.io/version"]}
	for _, c := range p.Spec.Containers {
		// A container that somebody else has put into the pod has versions of its own.
		if strings.HasPrefix(c.Name, "chaos-") {
			m.tags = append(m.tags, tagOf(c.Image))
		}
	}
	return m
}

// tagOf is the tag of an image's name; "" when it has none.
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	_, last, _ := strings.Cut(image[strings.LastIndexByte(image, '/')+1:], ":")
	return last
}

// daemons checks that Chaos Mesh's daemon is ready on each of the nodes.
func (t *Testbed) daemons(ctx context.Context, nodes []string) error {
	ready, err := t.readyDaemons(ctx)
	if err != nil {
		return fmt.Errorf("look for Chaos Mesh's daemons: %w", err)
	}
	for _, n := range nodes {
		if _, ok := ready[n]; !ok {
			return fmt.Errorf("node %s: %w", n, errNoDaemon)
		}
	}
	return nil
}
