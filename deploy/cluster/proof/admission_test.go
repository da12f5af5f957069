package proof

import (
	"fmt"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// clean is a pod that keeps all rules of the level restricted.
func clean() *core.Pod {
	return &core.Pod{
		ObjectMeta: meta.ObjectMeta{Name: "proof-admission", Namespace: namespace, Labels: map[string]string{"app": "stranger"}},
		Spec: core.PodSpec{
			AutomountServiceAccountToken: ptr(false),
			Containers:                   []core.Container{{Name: "proof", Image: "seatrial/none", SecurityContext: restricted()}},
		},
	}
}

// TestPodSecurity has pods refused that break one rule of the level restricted each, by
// the name of the rule, and the same pod admitted that breaks none. Nothing is stored.
func TestPodSecurity(t *testing.T) {
	c := connect(t)
	create := func(p *core.Pod) error {
		_, err := c.api.CoreV1().Pods(namespace).Create(t.Context(), p, meta.CreateOptions{DryRun: []string{meta.DryRunAll}})
		return err
	}
	if err := create(clean()); err != nil {
		t.Fatalf("a pod that breaks nothing is refused: %v", err)
	}
	type refusal struct {
		Pod     string `json:"pod"`
		Message string `json:"message"`
	}
	var seen []refusal
	text := "# Pod Security\n\nThe level `restricted` is enforced in namespace `" + namespace + "`. A pod that keeps it is admitted; pods that break one rule each:\n\n| pod | the API server says |\n|---|---|\n"
	for _, tt := range breaches {
		p := clean()
		tt.change(&p.Spec)
		err := create(p)
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `violates PodSecurity "restricted:`) || !strings.Contains(err.Error(), tt.rule) {
			t.Errorf("%s: want it refused for %q, got %v", tt.name, tt.rule, err)
			continue
		}
		seen = append(seen, refusal{tt.name, err.Error()})
		text += fmt.Sprintf("| %s | %s |\n", tt.name, strings.ReplaceAll(err.Error(), "|", "\\|"))
	}
	c.keep(t, "podsecurity", seen, text)
}

// breaches are the pods that are refused, with what the message must name.
var breaches = []struct {
	name, rule string
	change     func(*core.PodSpec)
}{
	{"privileged", "privileged (container \"proof\" must not set securityContext.privileged=true)", func(s *core.PodSpec) {
		s.Containers[0].SecurityContext.Privileged = ptr(true)
		s.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil
	}},
	{"may gain privileges", "allowPrivilegeEscalation != false", func(s *core.PodSpec) { s.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil }},
	{"keeps capabilities", "unrestricted capabilities", func(s *core.PodSpec) { s.Containers[0].SecurityContext.Capabilities = nil }},
	{"may be root", "runAsNonRoot != true", func(s *core.PodSpec) { s.Containers[0].SecurityContext.RunAsNonRoot = nil }},
	{"is root", "runAsUser=0", func(s *core.PodSpec) { s.Containers[0].SecurityContext.RunAsUser = ptr(int64(0)) }},
	{"without seccomp", "seccompProfile", func(s *core.PodSpec) { s.Containers[0].SecurityContext.SeccompProfile = nil }},
	{"in the node's network", "hostNetwork=true", func(s *core.PodSpec) { s.HostNetwork = true }},
	{"among the node's processes", "hostPID=true", func(s *core.PodSpec) { s.HostPID = true }},
	{"with a folder of the node", "hostPath", func(s *core.PodSpec) {
		s.Volumes = []core.Volume{{Name: "root", VolumeSource: core.VolumeSource{HostPath: &core.HostPathVolumeSource{Path: "/"}}}}
	}},
	{"with a port of the node", "hostPort", func(s *core.PodSpec) {
		s.Containers[0].Ports = []core.ContainerPort{{ContainerPort: 80, HostPort: 80}}
	}},
}
