package kube

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	core "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// component is the label by which Chaos Mesh's chart tells its parts apart.
const component = "app.kubernetes.io/component"

// version is a release: major, minor, patch.
type version [3]int

// oldest is the first Chaos Mesh whose daemon does not run anybody's commands.
var oldest = version{2, 7, 3}

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

func (v version) before(o version) bool {
	for i := range v {
		if v[i] != o[i] {
			return v[i] < o[i]
		}
	}
	return false
}

var release = regexp.MustCompile(`^v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:[-+].*)?$`)

// parseVersion reads "v2.8.3" or "2.8.0-rc.1". What is no release, and 0.0.0, which
// a build from the repository says of itself, is not a version. A release candidate
// counts as the release before which it came only in that it is not after it.
func parseVersion(text string) (version, bool) {
	m := release.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return version{}, false
	}
	var v version
	for i := range v {
		v[i], _ = strconv.Atoi(m[i+1]) // the form has digits only, and few
	}
	return v, v != version{}
}

// acceptable says whether a Chaos Mesh may be used of which these things were said:
// by its labels and images, and, where those tell nothing, by the user.
func acceptable(said []string, stated string) (string, error) {
	for _, text := range said {
		if v, ok := parseVersion(text); ok {
			return v.String(), newEnough(v)
		}
	}
	if stated == "" {
		return "", fmt.Errorf("Chaos Mesh does not tell its version (it says %q); if it is %s or later, say which with --chaos-mesh-version", said, oldest)
	}
	v, ok := parseVersion(stated)
	if !ok {
		return "", fmt.Errorf("--chaos-mesh-version %q: want a version such as 2.8.3", stated)
	}
	return v.String() + " (as stated)", newEnough(v)
}

func newEnough(v version) error {
	if v.before(oldest) {
		return fmt.Errorf("Chaos Mesh %s lets every pod of the cluster run commands in any other (CVE-2025-59358, CVE-2025-59359, CVE-2025-59360, CVE-2025-59361): want %s or later", v, oldest)
	}
	return nil
}

// chaosMesh asks Chaos Mesh's own pods for its version.
func (t *Testbed) chaosMesh(ctx context.Context) (string, error) {
	var pods core.PodList
	err := t.client.List(ctx, &pods, client.InNamespace(t.cfg.ChaosMeshNamespace), client.MatchingLabels{component: "controller-manager"})
	if err != nil {
		return "", fmt.Errorf("look for Chaos Mesh in namespace %s: %w", t.cfg.ChaosMeshNamespace, err)
	}
	if len(pods.Items) == 0 {
		return "", fmt.Errorf("no Chaos Mesh in namespace %s (no pod is labelled %s=controller-manager); --chaos-mesh-namespace names another", t.cfg.ChaosMeshNamespace, component)
	}
	var said []string
	for _, p := range pods.Items {
		said = append(said, p.Labels["app.kubernetes.io/version"])
		for _, c := range p.Spec.Containers {
			said = append(said, tagOf(c.Image))
		}
	}
	return acceptable(said, t.cfg.ChaosMeshVersion)
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
