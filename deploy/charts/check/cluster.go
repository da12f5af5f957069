package check

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	network "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// Release renders a chart, ours or not, as `helm install NAME --namespace NAMESPACE` would.
// Unlike Render it lets templates read values that nobody set, as Helm does.
func Release(path, name, namespace string, values []byte) (Text, error) {
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
	release := chartutil.ReleaseOptions{Name: name, Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, given, release, chartutil.DefaultCapabilities.Copy())
	if err != nil {
		return nil, fmt.Errorf("values of chart %s: %w", c.Name(), err)
	}
	text, err := engine.Render(c, all)
	if err != nil {
		return nil, fmt.Errorf("render chart %s: %w", c.Name(), err)
	}
	return text, nil
}

// UnknownValues names the values that a chart, by its own values.yaml, does not have. Helm
// ignores them, so a misspelt one would do nothing. Where the chart has an empty map, null
// or nothing but comments, anything may stand.
func UnknownValues(path string, values []byte) ([]string, error) {
	c, err := loader.Load(path)
	if err != nil {
		return nil, fmt.Errorf("load chart %s: %w", path, err)
	}
	var given map[string]any
	if err := yaml.UnmarshalStrict(values, &given); err != nil {
		return nil, fmt.Errorf("read values for chart %s: %w", c.Name(), err)
	}
	unknown := unknownIn("", given, c.Values)
	slices.Sort(unknown)
	return unknown, nil
}

func unknownIn(prefix string, given, has map[string]any) []string {
	var unknown []string
	for k, v := range given {
		known, there := has[k]
		if !there {
			unknown = append(unknown, prefix+k)
			continue
		}
		inner, ok := v.(map[string]any)
		if its, nested := known.(map[string]any); ok && nested && len(its) > 0 {
			unknown = append(unknown, unknownIn(prefix+k+".", inner, its)...)
		}
	}
	return unknown
}

// Manifests reads the plain objects in a folder's YAML files.
func Manifests(folder string) (Text, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no manifests in %s: %w", folder, err)
	}
	text := Text{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		text[filepath.Base(f)] = string(data)
	}
	return text, nil
}

// APIService is what this package needs of apiregistration.k8s.io/v1, whose types are in a
// module that nothing else here needs.
type APIService struct {
	meta.TypeMeta `json:",inline"`
	Metadata      meta.ObjectMeta `json:"metadata"`
	Spec          struct {
		Service struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
			Port      int32  `json:"port,omitempty"`
		} `json:"service"`
		Group                 string `json:"group"`
		Version               string `json:"version"`
		InsecureSkipTLSVerify bool   `json:"insecureSkipTLSVerify"`
		GroupPriorityMinimum  int32  `json:"groupPriorityMinimum"`
		VersionPriority       int32  `json:"versionPriority"`
	} `json:"spec"`
}

// SplitAPIServices takes the APIServices out of a text, decoded strictly.
func SplitAPIServices(text Text) (Text, []APIService, error) {
	rest := Text{}
	var all []APIService
	for path, content := range text {
		var kept []string
		for _, doc := range separator.Split(content, -1) {
			if !strings.Contains(doc, "\nkind: APIService\n") {
				kept = append(kept, doc)
				continue
			}
			var s APIService
			if err := yaml.UnmarshalStrict([]byte(doc), &s); err != nil {
				return nil, nil, fmt.Errorf("decode an APIService of %s: %w", path, err)
			}
			all = append(all, s)
		}
		rest[path] = strings.Join(kept, "\n---\n")
	}
	return rest, all, nil
}

// Placed is a pod with where it runs and how often.
type Placed struct {
	Pod
	Namespace string
	Replicas  int
	Surge     int // more of them while a new version is rolled out
	Always    bool
}

// Placed lists the pods of every kind of owner, those that run once included. What the
// Prometheus operator makes is there with what is known of it: labels, images, requests.
func (s System) Placed() []Placed {
	var all []Placed
	add := func(kind string, m *meta.ObjectMeta, t *core.PodTemplateSpec, replicas *int32, surge int, always bool) {
		n := 1
		if replicas != nil {
			n = int(*replicas)
		}
		all = append(all, Placed{Pod{kind + " " + m.Name, &t.ObjectMeta, &t.Spec}, m.Namespace, n, surge, always})
	}
	for _, o := range s {
		switch o := o.Object.(type) {
		case *apps.Deployment:
			add("Deployment", &o.ObjectMeta, &o.Spec.Template, o.Spec.Replicas, 1, true)
		case *apps.StatefulSet:
			add("StatefulSet", &o.ObjectMeta, &o.Spec.Template, o.Spec.Replicas, 0, true)
		case *apps.DaemonSet:
			add("DaemonSet", &o.ObjectMeta, &o.Spec.Template, nil, 0, true)
		case *batch.Job:
			add("Job", &o.ObjectMeta, &o.Spec.Template, nil, 0, false)
		case *batch.CronJob:
			add("CronJob", &o.ObjectMeta, &o.Spec.JobTemplate.Spec.Template, nil, 0, false)
		case *core.Pod:
			all = append(all, Placed{Pod{"Pod " + o.Name, &o.ObjectMeta, &o.Spec}, o.Namespace, 1, 0, false})
		case *monitoring.Prometheus:
			all = append(all, s.operated("prometheus", &o.ObjectMeta, o.Spec.Image, o.Spec.ImagePullPolicy, o.Spec.Resources))
		case *monitoring.Alertmanager:
			all = append(all, s.operated("alertmanager", &o.ObjectMeta, o.Spec.Image, o.Spec.ImagePullPolicy, o.Spec.Resources))
		}
	}
	return all
}

// operated is the pod that the operator makes: the program, and a container that watches its configuration.
func (s System) operated(name string, m *meta.ObjectMeta, image *string, pull core.PullPolicy, need core.ResourceRequirements) Placed {
	var named string
	if image != nil {
		named = *image
	}
	reloader := core.Container{
		Name: "config-reloader", Image: s.operatorFlag("--prometheus-config-reloader="), ImagePullPolicy: pull,
		Resources: core.ResourceRequirements{Requests: core.ResourceList{}},
	}
	if cpu, err := resource.ParseQuantity(s.operatorFlag("--config-reloader-cpu-request=")); err == nil {
		reloader.Resources.Requests[core.ResourceCPU] = cpu
	}
	return Placed{
		Pod: Pod{
			Owner: m.Name + "'s " + name,
			Meta:  &meta.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/name": name}},
			Spec:  &core.PodSpec{Containers: []core.Container{{Name: name, Image: named, ImagePullPolicy: pull, Resources: need}, reloader}},
		},
		Namespace: m.Namespace, Replicas: 1, Always: true,
	}
}

// operatorFlag is the value of a flag of the Prometheus operator, "" when it has none.
func (s System) operatorFlag(prefix string) string {
	for _, d := range Of[*apps.Deployment](s) {
		for _, c := range d.Spec.Template.Spec.Containers {
			for _, arg := range c.Args {
				if value, found := strings.CutPrefix(arg, prefix); found {
					return value
				}
			}
		}
	}
	return ""
}

// Loaded: every image is one of built, and nothing is pulled.
func Loaded(s System, built []string) []string {
	var problems []string
	for _, p := range s.Placed() {
		for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
			if !slices.Contains(built, c.Image) {
				problems = append(problems, fmt.Sprintf("%s: container %s: nobody builds image %q", p.Owner, c.Name, c.Image))
			}
			if c.ImagePullPolicy != core.PullNever {
				problems = append(problems, fmt.Sprintf("%s: container %s may pull its image (%q)", p.Owner, c.Name, c.ImagePullPolicy))
			}
		}
	}
	return problems
}

// CPU adds up what pods ask for: those that always run, and those that come in addition
// while every Deployment is rolled out and every Job runs.
func CPU(s System) (always, more resource.Quantity) {
	for _, p := range s.Placed() {
		var one resource.Quantity
		for _, c := range p.Spec.Containers {
			one.Add(*c.Resources.Requests.Cpu())
		}
		to, n := &always, p.Replicas
		if !p.Always {
			to = &more
		}
		for range n {
			to.Add(one)
		}
		for range p.Surge {
			more.Add(one)
		}
	}
	return always, more
}

// Asking: every container asks for some CPU, or the sum says little.
func Asking(s System) []string {
	var problems []string
	for _, p := range s.Placed() {
		for _, c := range p.Spec.Containers {
			if c.Resources.Requests.Cpu().IsZero() {
				problems = append(problems, fmt.Sprintf("%s: container %s asks for no CPU", p.Owner, c.Name))
			}
		}
	}
	return problems
}

// Volumes: each claim finds a volume of its class that is large enough and nobody else's.
func Volumes(s System) []string {
	type claim struct {
		owner string
		spec  core.PersistentVolumeClaimSpec
	}
	var claims []claim
	for _, d := range Of[*apps.StatefulSet](s) {
		for _, c := range d.Spec.VolumeClaimTemplates {
			for n := range int(*d.Spec.Replicas) {
				claims = append(claims, claim{fmt.Sprintf("%s-%s-%d", c.Name, d.Name, n), c.Spec})
			}
		}
	}
	for _, c := range Of[*core.PersistentVolumeClaim](s) {
		claims = append(claims, claim{c.Name, c.Spec})
	}
	// The largest first, and the smallest volume for it, as the binder would.
	size := func(c claim) *resource.Quantity { return c.spec.Resources.Requests.Storage() }
	slices.SortStableFunc(claims, func(a, b claim) int { return size(b).Cmp(*size(a)) })
	free := Of[*core.PersistentVolume](s)
	slices.SortStableFunc(free, func(a, b *core.PersistentVolume) int {
		return a.Spec.Capacity.Storage().Cmp(*b.Spec.Capacity.Storage())
	})
	var problems []string
	for _, c := range claims {
		i := slices.IndexFunc(free, func(v *core.PersistentVolume) bool {
			return c.spec.StorageClassName != nil && *c.spec.StorageClassName == v.Spec.StorageClassName && v.Spec.Capacity.Storage().Cmp(*size(c)) >= 0
		})
		if i < 0 {
			problems = append(problems, fmt.Sprintf("claim %s (%s) finds no volume", c.owner, size(c)))
			continue
		}
		free = slices.Delete(free, i, i+1)
	}
	return problems
}

// Peers: whoever a network policy names is somebody who is there.
func Peers(s System) []string {
	var problems []string
	for _, p := range Of[*network.NetworkPolicy](s) {
		var peers []network.NetworkPolicyPeer
		for _, in := range p.Spec.Ingress {
			peers = append(peers, in.From...)
		}
		for _, out := range p.Spec.Egress {
			peers = append(peers, out.To...)
		}
		for _, peer := range peers {
			if found, err := s.somebody(peer, p.Namespace); err != nil {
				problems = append(problems, fmt.Sprintf("NetworkPolicy %s/%s: %v", p.Namespace, p.Name, err))
			} else if !found {
				problems = append(problems, fmt.Sprintf("NetworkPolicy %s/%s names somebody who is not there: %s", p.Namespace, p.Name, describe(peer)))
			}
		}
	}
	return problems
}

func (s System) somebody(peer network.NetworkPolicyPeer, own string) (bool, error) {
	if peer.IPBlock != nil {
		return true, nil // an address is not a pod's
	}
	pods, spaces := labels.Everything(), labels.SelectorFromSet(labels.Set{meta.NamespaceDefault: own})
	var err error
	if peer.PodSelector != nil {
		if pods, err = meta.LabelSelectorAsSelector(peer.PodSelector); err != nil {
			return false, err
		}
	}
	if peer.NamespaceSelector != nil {
		if spaces, err = meta.LabelSelectorAsSelector(peer.NamespaceSelector); err != nil {
			return false, err
		}
	}
	for _, p := range s.Placed() {
		// The name that every namespace has as a label; the other key stands for "the policy's own".
		space := labels.Set{core.LabelMetadataName: p.Namespace, meta.NamespaceDefault: p.Namespace}
		if spaces.Matches(space) && pods.Matches(labels.Set(p.Meta.Labels)) {
			return true, nil
		}
	}
	return false, nil
}

func describe(peer network.NetworkPolicyPeer) string {
	return meta.FormatLabelSelector(peer.PodSelector) + " in namespaces " + meta.FormatLabelSelector(peer.NamespaceSelector)
}
