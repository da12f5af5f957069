package experiments

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"reflect"
	"testing"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"sigs.k8s.io/yaml"
)

// odd are values that belong to no field, or to none as they are.
var odd = []any{nil, "", "x", "-1", "1s", "NaN", -1, 0, 1e300, true, []any{}, []any{nil}, map[string]any{}, map[string]any{"x": nil}, deleted{}}

type deleted struct{}

// TestParseSurvivesOddValues puts each odd value in the place of each field of
// each kind, which a fuzzer of bytes takes ages to do.
func TestParseSurvivesOddValues(t *testing.T) {
	tried, accepted := 0, 0
	for name, manifest := range everyManifest(t) {
		visit(manifest, func(put func(any)) {
			for _, value := range odd {
				put(value)
				data, err := json.Marshal(clean(manifest))
				if err != nil {
					t.Fatal(err)
				}
				tried++
				func() {
					defer func() {
						if r := recover(); r != nil {
							t.Errorf("%s: panic %v for\n%s", name, r, data)
						}
					}()
					if e, err := Parse("odd.yaml", data); err == nil {
						accepted++
						use(t, e)
					}
				}()
			}
		})
	}
	t.Logf("tried %d manifests, accepted %d", tried, accepted)
	if tried < 5000 || accepted == 0 || accepted == tried {
		t.Errorf("tried %d manifests and accepted %d: that tests nothing", tried, accepted)
	}
}

// everyManifest is the embedded manifests, and one of each kind with all fields.
func everyManifest(t *testing.T) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for _, e := range Embedded().All() {
		data, err := fs.ReadFile(manifests, e.File)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := yaml.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		all[e.Name] = m
	}
	// Those that embed all the others would be most of the work.
	depth := map[string]int{v1alpha1.KindSchedule: -2, v1alpha1.KindWorkflow: -2, v1alpha1.KindPhysicalMachineChaos: -2}
	for kind, spawner := range v1alpha1.AllKindsIncludeScheduleAndWorkflow() {
		spec, ok := reflect.TypeOf(spawner.SpawnObject()).Elem().FieldByName("Spec")
		if !ok {
			t.Fatalf("%s has no spec", kind)
		}
		all[kind] = map[string]any{
			"apiVersion": apiVersion, "kind": kind,
			"metadata": map[string]any{"name": "x", "annotations": map[string]any{annotationInForce: "up"}},
			"spec":     sample(spec.Type, depth[kind]+3),
		}
	}
	return all
}

// sample is a value of a type with all its fields, some levels deep.
func sample(t reflect.Type, depth int) any {
	switch t.Kind() {
	case reflect.Pointer:
		return sample(t.Elem(), depth)
	case reflect.String:
		return "5s"
	case reflect.Bool:
		return true
	case reflect.Slice:
		return []any{sample(t.Elem(), depth)}
	case reflect.Map:
		return map[string]any{"app": sample(t.Elem(), depth)}
	case reflect.Struct:
		fields := map[string]any{}
		if depth > 0 {
			eachField(t, func(name string, f reflect.Type) { fields[name] = sample(f, depth-1) })
		}
		return fields
	default:
		return 1
	}
}

// visit calls do for each field and element in v, with a function that replaces
// it. Afterwards it is as it was.
func visit(v any, do func(put func(any))) {
	switch v := v.(type) {
	case map[string]any:
		for key, old := range v {
			do(func(value any) { v[key] = value })
			v[key] = old
			visit(old, do)
		}
	case []any:
		for i, old := range v {
			do(func(value any) { v[i] = value })
			v[i] = old
			visit(old, do)
		}
	}
}

// clean is a copy of v without what is deleted.
func clean(v any) any {
	switch v := v.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, value := range v {
			if _, gone := value.(deleted); !gone {
				kept[key] = clean(value)
			}
		}
		return kept
	case []any:
		kept := []any{}
		for _, value := range v {
			if _, gone := value.(deleted); !gone {
				kept = append(kept, clean(value))
			}
		}
		return kept
	case float64:
		if v > 1e200 {
			return json.Number(fmt.Sprint(v))
		}
	}
	return v
}
