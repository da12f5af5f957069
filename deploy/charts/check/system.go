package check

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// kubernetes is the version that charts are rendered for.
const kubernetes = "v1.34.0"

// Namespace is where the system is installed, and where experiments look for it.
const Namespace = "seatrial"

// Text is what a chart renders: the path of each template and what became of it.
type Text map[string]string

// VerifierNamespace is where the chart verifier is installed.
const VerifierNamespace = "seatrial-verifier"

// Render renders the chart in a folder, or in an archive, as `helm install seatrial --namespace seatrial` would
// (the chart verifier: `helm install verifier --namespace seatrial-verifier`).
// values is YAML that is laid over the chart's own; the schemas of the chart and of its
// dependencies are enforced.
func Render(path string, values []byte) (Text, error) {
	c, err := loader.Load(path)
	if err != nil {
		return nil, fmt.Errorf("load chart %s: %w", path, err)
	}
	given, err := chartutil.ReadValues(values)
	if err != nil {
		return nil, fmt.Errorf("read values for chart %s: %w", c.Name(), err)
	}
	if err := chartutil.ProcessDependenciesWithMerge(c, given); err != nil {
		return nil, fmt.Errorf("resolve dependencies of chart %s: %w", c.Name(), err)
	}
	caps := chartutil.DefaultCapabilities.Copy()
	caps.KubeVersion = chartutil.KubeVersion{Version: kubernetes, Major: "1", Minor: "34"}
	release := chartutil.ReleaseOptions{Name: "seatrial", Namespace: Namespace, Revision: 1, IsInstall: true}
	if c.Name() == "verifier" {
		release.Name, release.Namespace = "verifier", VerifierNamespace
	}
	all, err := chartutil.ToRenderValues(c, given, release, caps)
	if err != nil {
		return nil, fmt.Errorf("values of chart %s: %w", c.Name(), err)
	}
	text, err := engine.Engine{Strict: true}.Render(c, all)
	if err != nil {
		return nil, fmt.Errorf("render chart %s: %w", c.Name(), err)
	}
	return text, nil
}

// Object is one rendered object.
type Object struct {
	Source string // the template it is from
	runtime.Object
	Meta meta.Object
}

// System is all objects that a chart renders, in the order of their templates' paths.
type System []Object

var separator = regexp.MustCompile(`(?m)^---\s*$`)

// Decode reads every object with unknown and repeated fields as errors.
func Decode(text Text) (System, error) {
	types := runtime.NewScheme()
	if err := scheme.AddToScheme(types); err != nil {
		return nil, fmt.Errorf("register Kubernetes' types: %w", err)
	}
	if err := monitoring.AddToScheme(types); err != nil {
		return nil, fmt.Errorf("register the Prometheus operator's types: %w", err)
	}
	decoder := serializer.NewCodecFactory(types, serializer.EnableStrict).UniversalDeserializer()
	var all System
	for _, path := range text.paths() {
		for _, doc := range separator.Split(text[path], -1) {
			var fields map[string]any
			if err := yaml.Unmarshal([]byte(doc), &fields); err != nil {
				return nil, fmt.Errorf("%s is no YAML: %w", path, err)
			}
			if len(fields) == 0 {
				continue // comments only
			}
			o, _, err := decoder.Decode([]byte(doc), nil, nil)
			if err != nil {
				return nil, fmt.Errorf("decode an object of %s: %w", path, err)
			}
			all = append(all, Object{path, o, o.(meta.Object)})
		}
	}
	return all, nil
}

// paths lists the templates that render objects: neither notes nor helpers.
func (t Text) paths() []string {
	var all []string
	for p := range t {
		if filepath.Ext(p) == ".yaml" {
			all = append(all, p)
		}
	}
	slices.Sort(all)
	return all
}

// Golden is the text that is compared with a file.
func (t Text) Golden() string {
	var b strings.Builder
	for _, p := range t.paths() {
		if s := strings.TrimSpace(t[p]); s != "" {
			fmt.Fprintf(&b, "---\n# Source: %s\n%s\n", p, strings.TrimPrefix(s, "---\n"))
		}
	}
	return b.String()
}

// Of lists the objects of a type.
func Of[T runtime.Object](s System) []T {
	var all []T
	for _, o := range s {
		if t, ok := o.Object.(T); ok {
			all = append(all, t)
		}
	}
	return all
}

// Pod is what a workload makes pods from.
type Pod struct {
	Owner string // kind and name, e.g. "Deployment api"
	Meta  *meta.ObjectMeta
	Spec  *core.PodSpec
}

// App is the label by which pods are selected.
func (p Pod) App() string { return p.Meta.Labels["app"] }

// Pods lists the pods of a System, those included that end by themselves.
func (s System) Pods() []Pod {
	all := s.Workloads()
	for _, j := range Of[*batch.Job](s) {
		all = append(all, Pod{"Job " + j.Name, &j.Spec.Template.ObjectMeta, &j.Spec.Template.Spec})
	}
	for _, j := range Of[*batch.CronJob](s) {
		t := &j.Spec.JobTemplate.Spec.Template
		all = append(all, Pod{"CronJob " + j.Name, &t.ObjectMeta, &t.Spec})
	}
	for _, p := range Of[*core.Pod](s) {
		all = append(all, Pod{"Pod " + p.Name, &p.ObjectMeta, &p.Spec})
	}
	return all
}

// Workloads lists the pods that someone keeps alive.
func (s System) Workloads() []Pod {
	var all []Pod
	for _, d := range Of[*apps.Deployment](s) {
		all = append(all, Pod{"Deployment " + d.Name, &d.Spec.Template.ObjectMeta, &d.Spec.Template.Spec})
	}
	for _, d := range Of[*apps.StatefulSet](s) {
		all = append(all, Pod{"StatefulSet " + d.Name, &d.Spec.Template.ObjectMeta, &d.Spec.Template.Spec})
	}
	return all
}
