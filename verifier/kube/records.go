package kube

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

// Chaos Mesh's conditions say AllRecovered before an injection, and while an
// injection keeps failing; they also lag behind. Only its records are believed.

// inForce says whether every record is injected. No record at all is no: nothing
// was selected yet, or ever.
func inForce(s *v1alpha1.ChaosStatus) bool {
	for _, r := range s.Experiment.Records {
		if r.Phase != v1alpha1.Injected || r.InjectedCount < 1 {
			return false
		}
	}
	return len(s.Experiment.Records) > 0
}

// recovered says whether what was injected was taken back everywhere. What was
// never injected is not recovered: nobody knows how far it came.
func recovered(s *v1alpha1.ChaosStatus) bool {
	for _, r := range s.Experiment.Records {
		if r.Phase != v1alpha1.NotInjected || r.InjectedCount < 1 || r.RecoveredCount < r.InjectedCount {
			return false
		}
	}
	return len(s.Experiment.Records) > 0
}

// halfway says whether a record was never injected. Chaos Mesh goes on to inject such a
// one, also when the object is to go.
func halfway(s *v1alpha1.ChaosStatus) bool {
	return slices.ContainsFunc(s.Experiment.Records, func(r *v1alpha1.Record) bool { return r.InjectedCount < 1 })
}

// progress tells how far an injection has come: "2 of 3 injected; not NAMESPACE/POD".
func progress(s *v1alpha1.ChaosStatus) string {
	records := s.Experiment.Records
	if len(records) == 0 {
		return "Chaos Mesh has selected nothing"
	}
	var missing []string
	for _, r := range records {
		if r.Phase != v1alpha1.Injected {
			missing = append(missing, r.Id)
		}
	}
	text := fmt.Sprintf("Chaos Mesh has injected %d of %d", len(records)-len(missing), len(records))
	if len(missing) > 0 {
		text += ", not " + strings.Join(unique(missing), ", ")
	}
	return text
}

// complaints are Chaos Mesh's own messages of operations that failed, each once, in
// the order of the records.
func complaints(s *v1alpha1.ChaosStatus, operation v1alpha1.RecordEventOperation) []string {
	var all []string
	for _, r := range s.Experiment.Records {
		for _, e := range r.Events {
			if e.Type == v1alpha1.TypeFailed && e.Operation == operation && e.Message != "" {
				all = append(all, oneLine(e.Message))
			}
		}
	}
	return unique(all)
}

func unique(all []string) []string {
	var once []string
	for _, s := range all {
		if !slices.Contains(once, s) {
			once = append(once, s)
		}
	}
	return once
}

// oneLine fits a message into a reason.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// sources are the rules that a PodNetworkChaos holds for one experiment, by what
// they are; empty when it holds none.
func sources(p *v1alpha1.PodNetworkChaos, source string) []string {
	var all []string
	for _, x := range p.Spec.IPSets {
		if x.Source == source {
			all = append(all, "ipset "+x.Name)
		}
	}
	for _, x := range p.Spec.Iptables {
		if x.Source == source {
			all = append(all, "iptables chain "+x.Name)
		}
	}
	for _, x := range p.Spec.TrafficControls {
		if x.Source == source {
			all = append(all, "traffic control "+string(x.Type))
		}
	}
	return all
}

// without takes the rules of one experiment out of a PodNetworkChaos.
func without(p *v1alpha1.PodNetworkChaos, source string) {
	p.Spec.IPSets = slices.DeleteFunc(p.Spec.IPSets, func(x v1alpha1.RawIPSet) bool { return x.Source == source })
	p.Spec.Iptables = slices.DeleteFunc(p.Spec.Iptables, func(x v1alpha1.RawIptables) bool { return x.Source == source })
	p.Spec.TrafficControls = slices.DeleteFunc(p.Spec.TrafficControls, func(x v1alpha1.RawTrafficControl) bool { return x.Source == source })
}
