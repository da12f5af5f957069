package experiments

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// finding is a mistake in a typed object: where, by the path of its field, and
// what.
type finding struct {
	path string
	what string
}

func (f finding) Error() string { return f.path + ": " + f.what }

func found(path, format string, args ...any) finding {
	return finding{path, fmt.Sprintf(format, args...)}
}

// place gives findings the lines of the text they were found in.
func place(src *source, findings []finding) Mistakes {
	var all Mistakes
	for _, f := range findings {
		all = append(all, src.mistake(f.path, "%s", f.what))
	}
	return all
}

// checkSelectors checks every selector of pods that an object has.
func checkSelectors(src *source, obj client.Object) Mistakes {
	selectors, err := podSelectors(obj)
	if err != nil {
		return Mistakes{src.mistake("spec", "%v", err)}
	}
	var all []finding
	for _, s := range selectors {
		if emptySelector(s.Selector) {
			all = append(all, found(s.path+".selector",
				"missing or empty, which would match every pod; want labelSelectors, expressionSelectors, annotationSelectors, fieldSelectors, podPhaseSelectors, nodes, nodeSelectors, pods or namespaces"))
		} else if _, err := compile(s.Selector); err != nil {
			all = append(all, found(s.path+".selector", "%v", err))
		}
		if err := checkMode(string(s.Mode), s.Value); err != nil {
			all = append(all, found(modePath(s), "%v", err))
		}
	}
	return place(src, all)
}

// modePath is where a mistake of mode and value is best told.
func modePath(s placedSelector) string {
	if checkMode(string(s.Mode), "1") == nil || checkMode(string(s.Mode), "") == nil {
		return s.path + ".value"
	}
	return s.path + ".mode"
}

func emptySelector(s v1alpha1.PodSelectorSpec) bool {
	return len(s.Namespaces)+len(s.FieldSelectors)+len(s.LabelSelectors)+len(s.ExpressionSelectors)+
		len(s.AnnotationSelectors)+len(s.Nodes)+len(s.Pods)+len(s.NodeSelectors)+len(s.PodPhaseSelectors) == 0
}

// checkKind checks what Chaos Mesh leaves to its custom resource definitions or
// to chance, for the kinds that every testbed can do.
func checkKind(src *source, obj client.Object) Mistakes {
	switch chaos := obj.(type) {
	case *v1alpha1.PodChaos:
		return place(src, checkPod(chaos.Spec))
	case *v1alpha1.NetworkChaos:
		return place(src, checkNetwork(chaos.Spec))
	case *v1alpha1.StressChaos:
		_, findings := stressOf(chaos.Spec)
		return place(src, findings)
	}
	return nil
}

func checkPod(spec v1alpha1.PodChaosSpec) []finding {
	actions := []string{string(v1alpha1.PodKillAction), string(v1alpha1.PodFailureAction), string(v1alpha1.ContainerKillAction)}
	if !slices.Contains(actions, string(spec.Action)) {
		return []finding{unknownAction("PodChaos", string(spec.Action), actions)}
	}
	var all []finding
	names := "spec.containerNames"
	switch isContainerKill := spec.Action == v1alpha1.ContainerKillAction; {
	case isContainerKill && len(spec.ContainerNames) == 0:
		all = append(all, found(names, "missing; container-kill wants the names of the containers to kill"))
	case isContainerKill && slices.Contains(spec.ContainerNames, ""):
		all = append(all, found(names, "has an empty name"))
	case !isContainerKill && len(spec.ContainerNames) > 0:
		all = append(all, found(names, "has no meaning with %s, which takes the whole pod; remove it", spec.Action))
	}
	switch {
	case spec.GracePeriod < 0:
		all = append(all, found("spec.gracePeriod", "%d; want seconds, 0 or more", spec.GracePeriod))
	case spec.GracePeriod > 0 && spec.Action != v1alpha1.PodKillAction:
		all = append(all, found("spec.gracePeriod", "has no meaning with %s; only pod-kill asks before it kills", spec.Action))
	}
	return all
}

func unknownAction(kind, action string, actions []string) finding {
	if action == "" {
		return found("spec.action", "missing; a %s does %s", kind, strings.Join(actions, ", "))
	}
	return found("spec.action", "%q is no action of a %s; it does %s", action, kind, strings.Join(actions, ", "))
}

var networkActions = []string{"netem", "delay", "loss", "duplicate", "corrupt", "partition", "bandwidth"}

func checkNetwork(spec v1alpha1.NetworkChaosSpec) []finding {
	action := string(spec.Action)
	if !slices.Contains(networkActions, action) {
		return []finding{unknownAction("NetworkChaos", action, networkActions)}
	}
	all := checkParameters(spec)
	if !slices.Contains([]v1alpha1.Direction{"", v1alpha1.To, v1alpha1.From, v1alpha1.Both}, spec.Direction) {
		all = append(all, found("spec.direction", "%q; want to, from or both", spec.Direction))
	}
	if spec.Action != v1alpha1.PartitionAction && spec.Direction != "" && spec.Direction != v1alpha1.To {
		if spec.Target == nil {
			all = append(all, found("spec.direction", "%s needs a target: without one only what the victims send can be impaired", spec.Direction))
		} else if len(spec.ExternalTargets) > 0 {
			all = append(all, found("spec.externalTargets", "cannot be combined with direction %s: nothing can be impaired out there", spec.Direction))
		}
	}
	switch behavior := spec.PartitionBehavior; {
	case behavior == "":
	case behavior != v1alpha1.DropPartitionBehavior && behavior != v1alpha1.RejectPartitionBehavior:
		all = append(all, found("spec.partitionBehavior", "%q; want drop or reject", behavior))
	case spec.Action != v1alpha1.PartitionAction:
		all = append(all, found("spec.partitionBehavior", "has no meaning with %s", action))
	}
	_, findings := netemOf(spec)
	return append(all, findings...)
}

// checkParameters wants the block of parameters that belongs to the action, and
// no other: Chaos Mesh would apply some of the others too and pass over the rest.
func checkParameters(spec v1alpha1.NetworkChaosSpec) []finding {
	given := map[string]bool{
		"delay": spec.Delay != nil, "loss": spec.Loss != nil, "duplicate": spec.Duplicate != nil,
		"corrupt": spec.Corrupt != nil, "rate": spec.Rate != nil, "bandwidth": spec.Bandwidth != nil,
	}
	action := string(spec.Action)
	belongs := []string{action}
	if spec.Action == v1alpha1.NetemAction {
		belongs = []string{"delay", "loss", "duplicate", "corrupt", "rate"}
	}
	var all []finding
	any := spec.Action == v1alpha1.PartitionAction
	for _, block := range []string{"delay", "loss", "duplicate", "corrupt", "rate", "bandwidth"} {
		if given[block] && !slices.Contains(belongs, block) {
			all = append(all, found("spec."+block, "has no meaning with action %s; action netem combines delay, loss, duplicate, corrupt and rate", action))
		}
		any = any || given[block] && slices.Contains(belongs, block)
	}
	if !any {
		all = append(all, found("spec."+belongs[0], "missing; action %s wants %s", action, strings.Join(belongs, " or ")))
	}
	return all
}

// everywhere are the kinds that every testbed can do, at least in part.
var everywhere = []string{v1alpha1.KindPodChaos, v1alpha1.KindNetworkChaos, v1alpha1.KindStressChaos}

// needsKubernetes lists what of an experiment only real Chaos Mesh can do.
func needsKubernetes(e *Experiment) []string {
	if !slices.Contains(everywhere, e.Kind) {
		return []string{"kind " + e.Kind}
	}
	var needs []string
	need := func(when bool, what string) {
		if when {
			needs = append(needs, what)
		}
	}
	selectors, _ := podSelectors(e.Object) // checked before
	for _, s := range selectors {
		need(len(s.Selector.NodeSelectors) > 0, s.path+".selector.nodeSelectors")
	}
	switch chaos := e.Object.(type) {
	case *v1alpha1.PodChaos:
		need(chaos.Spec.RemoteCluster != "", "spec.remoteCluster")
		need(chaos.Spec.GracePeriod > 0, "spec.gracePeriod")
	case *v1alpha1.NetworkChaos:
		need(chaos.Spec.RemoteCluster != "", "spec.remoteCluster")
		need(chaos.Spec.Device != "" || chaos.Spec.TargetDevice != "", "spec.device and spec.targetDevice")
		need(len(chaos.Spec.ExternalTargets) > 0, "spec.externalTargets")
		b := chaos.Spec.Bandwidth
		need(b != nil && (b.Peakrate != nil || b.Minburst != nil), "spec.bandwidth.peakrate and minburst")
	case *v1alpha1.StressChaos:
		need(chaos.Spec.RemoteCluster != "", "spec.remoteCluster")
		need(chaos.Spec.StressngStressors != "", "spec.stressngStressors")
		s, _ := stressOf(chaos.Spec)
		need(s.Options && chaos.Spec.StressngStressors == "", "options of stress-ng in spec.stressors")
	}
	return needs
}
