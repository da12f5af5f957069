package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// Scripts: the files that the local testbed runs are in the ConfigMaps, all and byte for byte,
// and the alerts are those of deploy/rules. root is the repository's folder.
func Scripts(s System, root string) []string {
	var problems []string
	for app, pattern := range map[string]string{"nats": "nats.conf,*.sh", "valkey": "*.sh"} {
		i := slices.IndexFunc(Of[*core.ConfigMap](s), func(c *core.ConfigMap) bool { return c.Name == app })
		if i < 0 {
			problems = append(problems, "there is no ConfigMap "+app)
			continue
		}
		data := Of[*core.ConfigMap](s)[i].Data
		for _, one := range strings.Split(pattern, ",") {
			files, _ := filepath.Glob(filepath.Join(root, "deploy", app, one))
			if len(files) == 0 {
				problems = append(problems, fmt.Sprintf("deploy/%s has no %s", app, one))
			}
			for _, f := range files {
				want, err := os.ReadFile(f)
				if err != nil {
					problems = append(problems, err.Error())
				} else if data[filepath.Base(f)] != string(want) {
					problems = append(problems, fmt.Sprintf("ConfigMap %s: %s is not deploy/%s/%[2]s", app, filepath.Base(f), app))
				}
			}
		}
	}
	return problems
}

// Alerts: the PrometheusRule says what one of the two files of deploy/rules says, and nothing else; but
// all of its runbooks may be at another address.
func Alerts(s System, root string) []string {
	have := Of[*monitoring.PrometheusRule](s)
	for _, name := range []string{"seatrial", "production"} {
		want, err := ruleFile(root, name)
		if err != nil {
			return []string{err.Error()}
		}
		if len(have) == 1 && reflect.DeepEqual(have[0].Spec, movedTo(runbooksOf(have[0].Spec, "runbooks/"), want)) {
			return nil
		}
	}
	return []string{"the PrometheusRule is neither deploy/rules/seatrial.rules.yaml nor production.rules.yaml"}
}

// runbooksOf is what stands before a folder of this repository in the first alert's link, where that is an address.
func runbooksOf(spec monitoring.PrometheusRuleSpec, folder string) string {
	for _, g := range spec.Groups {
		for _, r := range g.Rules {
			before, _, _ := strings.Cut(r.Annotations["runbook_url"], folder)
			if strings.HasPrefix(before, "https://") || strings.HasPrefix(before, "http://") {
				return before
			}
		}
	}
	return ""
}

// movedTo is a rule file whose runbooks are all at an address.
func movedTo(address string, spec monitoring.PrometheusRuleSpec) monitoring.PrometheusRuleSpec {
	for _, g := range spec.Groups {
		for _, r := range g.Rules {
			if url, linked := r.Annotations["runbook_url"]; linked {
				r.Annotations["runbook_url"] = address + url
			}
		}
	}
	return spec
}

// ruleFile reads deploy/rules/NAME.rules.yaml.
func ruleFile(root, name string) (monitoring.PrometheusRuleSpec, error) {
	var spec monitoring.PrometheusRuleSpec
	data, err := os.ReadFile(filepath.Join(root, "deploy", "rules", name+".rules.yaml"))
	if err != nil {
		return spec, err
	}
	if err := yaml.UnmarshalStrict(data, &spec); err != nil {
		return spec, fmt.Errorf("deploy/rules/%s.rules.yaml is no PrometheusRule: %w", name, err)
	}
	return spec, nil
}

// Manifest is what this package needs to know of an experiment.
type Manifest struct {
	Metadata meta.ObjectMeta `json:"metadata"`
	Spec     struct {
		Selector       Selector `json:"selector"`
		ContainerNames []string `json:"containerNames"`
		Target         *struct {
			Selector Selector `json:"selector"`
		} `json:"target"`
	} `json:"spec"`
}

// Selector is Chaos Mesh's, as far as our experiments use it; anything else is an error.
type Selector struct {
	Namespaces          []string                        `json:"namespaces"`
	LabelSelectors      map[string]string               `json:"labelSelectors"`
	ExpressionSelectors []meta.LabelSelectorRequirement `json:"expressionSelectors"`
}

// UnmarshalJSON refuses fields that would change who is selected.
func (s *Selector) UnmarshalJSON(data []byte) error {
	type plain Selector
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode((*plain)(s))
}

// Experiments reads all manifests of a folder.
func Experiments(folder string) ([]Manifest, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no experiments in %s: %w", folder, err)
	}
	var all []Manifest
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		var m Manifest
		if err := yaml.Unmarshal(data, &m); err != nil {
			return nil, fmt.Errorf("read experiment %s: %w", f, err)
		}
		all = append(all, m)
	}
	return all, nil
}

var jobs = regexp.MustCompile(`job="([^"]*)"`)

// Victims: every experiment finds victims, targets and containers among the system's pods,
// and whatever it and the alerts measure is scraped under that job.
func Victims(s System, all []Manifest) []string {
	var problems []string
	for _, m := range all {
		victims, err := s.chosen(m.Spec.Selector)
		if err != nil || len(victims) == 0 {
			problems = append(problems, fmt.Sprintf("experiment %s finds no victim (%v)", m.Metadata.Name, err))
		}
		for _, v := range victims {
			for _, name := range m.Spec.ContainerNames {
				if !slices.ContainsFunc(v.Spec.Containers, func(c core.Container) bool { return c.Name == name }) {
					problems = append(problems, fmt.Sprintf("experiment %s: %s has no container %s", m.Metadata.Name, v.Owner, name))
				}
			}
		}
		if t := m.Spec.Target; t != nil {
			if targets, err := s.chosen(t.Selector); err != nil || len(targets) == 0 {
				problems = append(problems, fmt.Sprintf("experiment %s finds no target (%v)", m.Metadata.Name, err))
			}
		}
		for _, text := range m.Metadata.Annotations {
			problems = append(problems, s.unscraped("experiment "+m.Metadata.Name, text)...)
		}
	}
	for _, r := range Of[*monitoring.PrometheusRule](s) {
		for _, g := range r.Spec.Groups {
			for _, one := range g.Rules {
				problems = append(problems, s.unscraped("rule "+one.Alert+one.Record, one.Expr.String())...)
			}
		}
	}
	return problems
}

func (s System) unscraped(where, promql string) []string {
	var problems []string
	for _, j := range jobs.FindAllStringSubmatch(promql, -1) {
		if !slices.Contains(s.Jobs(), j[1]) {
			problems = append(problems, fmt.Sprintf("%s: nothing is scraped as job %q", where, j[1]))
		}
	}
	return problems
}

func (s System) chosen(by Selector) ([]Pod, error) {
	if !slices.Contains(by.Namespaces, Namespace) {
		return nil, fmt.Errorf("looks in %v, the system is in %s", by.Namespaces, Namespace)
	}
	chosen, err := meta.LabelSelectorAsSelector(&meta.LabelSelector{MatchLabels: by.LabelSelectors, MatchExpressions: by.ExpressionSelectors})
	if err != nil {
		return nil, err
	}
	return s.selected(chosen), nil
}

var row = regexp.MustCompile("(?m)^\\| `(SEATRIAL_[A-Z_]+)` \\|.*\\| ([a-z, -]+) \\|$")

// Settings: what services are given are settings that they read, as services/README.md has them.
func Settings(s System, root string) []string {
	text, err := os.ReadFile(filepath.Join(root, "services", "README.md"))
	if err != nil {
		return []string{err.Error()}
	}
	readers := map[string][]string{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		readers[m[1]] = strings.Split(m[2], ", ")
	}
	var problems []string
	for _, c := range Of[*core.ConfigMap](s) {
		for name := range c.Data {
			if environment.MatchString(name) && !slices.Contains(readers[name], c.Name) {
				problems = append(problems, fmt.Sprintf("ConfigMap %s: %s is no setting of %[1]s", c.Name, name))
			}
		}
	}
	return problems
}
