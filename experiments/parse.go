package experiments

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/genericwebhook"
	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// maxManifest is the largest manifest that is read, in bytes. An object of a
// Kubernetes cluster may not be much larger.
const maxManifest = 1 << 20

// Parse reads one manifest; name is what mistakes call the file. The error is a
// Mistakes that holds every mistake.
//
// Kinds that are Chaos Mesh's but not every testbed's parse as well: the
// testbed refuses them by name (see Experiment.NeedsKubernetes).
func Parse(name string, data []byte) (*Experiment, error) {
	e, _, mistakes := parse(name, data)
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	return e, nil
}

// parse returns the experiment also when there are mistakes, as far as it got:
// its name is wanted by Load. It is nil when not even the name could be read.
func parse(file string, data []byte) (*Experiment, *source, Mistakes) {
	src, doc, mistakes := readYAML(file, data)
	if len(mistakes) > 0 {
		return nil, src, mistakes
	}
	obj, mistakes := decode(src, doc)
	if obj == nil {
		return nil, src, mistakes
	}
	e := &Experiment{
		Name: obj.GetName(), Namespace: obj.GetNamespace(), File: file,
		Kind: obj.GetObjectKind().GroupVersionKind().Kind, Object: obj, Raw: slices.Clone(data),
	}
	mistakes = append(mistakes, e.identify(src)...)
	mistakes = append(mistakes, e.readSpec(src, doc)...)
	mistakes = append(mistakes, e.readAnnotations(src)...)
	mistakes = append(mistakes, e.ask(src, mistakes)...)
	if e.Name == "" {
		return nil, src, mistakes
	}
	if len(mistakes) == 0 {
		e.NeedsKubernetes = needsKubernetes(e)
	}
	return e, src, mistakes
}

// readYAML reads exactly one document, as a tree with lines and as the JSON
// that kubectl would send.
func readYAML(file string, data []byte) (*source, []byte, Mistakes) {
	src := &source{file: file}
	if len(data) > maxManifest {
		return src, nil, Mistakes{src.mistake("", "the manifest has %d bytes; at most %d are read", len(data), maxManifest)}
	}
	decoder := yamlv3.NewDecoder(bytes.NewReader(data))
	var first, second yamlv3.Node
	if err := decoder.Decode(&first); errors.Is(err, io.EOF) {
		return src, nil, Mistakes{src.mistake("", "the file holds no object")}
	} else if err != nil {
		return src, nil, yamlMistakes(file, err)
	}
	if err := decoder.Decode(&second); err == nil {
		return src, nil, Mistakes{{file, max(1, second.Line), "a second document begins here; a manifest holds one object"}}
	} else if !errors.Is(err, io.EOF) {
		return src, nil, yamlMistakes(file, err)
	}
	if len(first.Content) != 1 || first.Content[0].Kind != yamlv3.MappingNode {
		return src, nil, Mistakes{{file, max(1, first.Line), "not an object; a manifest begins with apiVersion, kind and metadata"}}
	}
	src.root = first.Content[0]
	doc, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return src, nil, yamlMistakes(file, err)
	}
	return src, doc, nil
}

const apiVersion = "chaos-mesh.org/v1alpha1"

// decode makes the typed object. It is nil when its kind is unknown or its
// fields are of wrong types.
func decode(src *source, doc []byte) (client.Object, Mistakes) {
	var head struct {
		APIVersion any `json:"apiVersion"`
		Kind       any `json:"kind"`
	}
	if err := strictjson.UnmarshalCaseSensitivePreserveInts(doc, &head); err != nil {
		return nil, Mistakes{src.mistake("", "%v", err)}
	}
	var all Mistakes
	if head.APIVersion != apiVersion {
		all = append(all, src.mistake("apiVersion", "%s; want %s", shown(head.APIVersion), apiVersion))
	}
	kinds := v1alpha1.AllKindsIncludeScheduleAndWorkflow()
	kind, _ := head.Kind.(string)
	spawner, ok := kinds[kind]
	if !ok {
		hint := suggest(kind, slices.Sorted(maps.Keys(kinds)))
		return nil, append(all, src.mistake("kind", "%s is no kind of Chaos Mesh's; %s", shown(head.Kind), hint))
	}
	obj := spawner.SpawnObject()
	strict, err := strictjson.UnmarshalStrict(doc, obj)
	if err != nil {
		return nil, append(all, typeMistake(src, err))
	}
	for _, err := range strict {
		all = append(all, unknownField(src, obj, err))
	}
	return obj, all
}

// shown is a decoded value as a reader of the manifest would recognise it.
func shown(v any) string {
	if v == nil {
		return "missing"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%q", fmt.Sprint(v))
	}
	return string(text)
}

func typeMistake(src *source, err error) Mistake {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return src.mistake("", "%v", err)
	}
	got, ok := map[string]string{"array": "list", "object": "mapping"}[wrong.Value]
	if !ok {
		got, _, _ = strings.Cut(wrong.Value, " ") // "number 1e99"
	}
	hint := ""
	if wrong.Type.Kind() == reflect.String && got != "list" && got != "mapping" {
		hint = "; put it in quotes"
	}
	path := strings.Trim(embeddedStruct.ReplaceAllString(wrong.Field, ""), ".")
	return src.mistake(path, "a %s where a %s belongs%s", got, typeName(wrong.Type), hint)
}

// embeddedStruct is a segment of a path that only Go's types have.
var embeddedStruct = regexp.MustCompile(`(^|\.)[A-Z]\w*`)

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "mapping"
	case reflect.Slice, reflect.Array:
		return "list"
	case reflect.Pointer:
		return typeName(t.Elem())
	default:
		return t.Kind().String()
	}
}

// unknownField words a strict error with the fields that there are.
func unknownField(src *source, obj client.Object, err error) Mistake {
	var at strictjson.FieldError
	if !errors.As(err, &at) {
		return src.mistake("", "%v", err)
	}
	path := at.FieldPath()
	parent, name := "", path
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		parent, name = path[:i], path[i+1:]
	}
	fields := fieldsAt(reflect.TypeOf(obj), parent)
	return src.mistake(path, "unknown field; %s", suggest(name, fields))
}

// identify checks what every object must have besides its kind.
func (e *Experiment) identify(src *source) Mistakes {
	if e.Name == "" {
		return Mistakes{src.mistake("metadata.name", "missing; every experiment needs a name")}
	}
	var all Mistakes
	for _, problem := range validation.IsDNS1123Subdomain(e.Name) {
		all = append(all, src.mistake("metadata.name", "%q: %s", e.Name, problem))
	}
	return all
}

// loose is what is read of a spec without knowing its kind.
type loose struct {
	Spec *struct {
		Action   any `json:"action"`
		Duration any `json:"duration"`
	} `json:"spec"`
}

// readSpec reads action, duration and one-shot-ness, then checks what is
// particular to the kind.
func (e *Experiment) readSpec(src *source, doc []byte) Mistakes {
	var in loose
	if err := json.Unmarshal(doc, &in); err != nil || in.Spec == nil {
		return Mistakes{src.mistake("spec", "missing; it says what the fault is")}
	}
	e.Action, _ = in.Spec.Action.(string)
	if stress, ok := e.Object.(*v1alpha1.StressChaos); ok {
		e.Action = stressAction(stress)
	}
	if shot, ok := e.Object.(interface{ IsOneShot() bool }); ok {
		e.OneShot = shot.IsOneShot()
	}
	all := e.readDuration(src, in.Spec.Duration)
	all = append(all, checkSelectors(src, e.Object)...)
	return append(all, checkKind(src, e.Object)...)
}

// readDuration requires an end of every fault that lasts: should the verifier
// die, Chaos Mesh still removes it.
func (e *Experiment) readDuration(src *source, given any) Mistakes {
	const path = "spec.duration"
	_, lasts := e.Object.(v1alpha1.InnerObject)
	text, isText := given.(string)
	switch {
	case !lasts: // a Schedule or a Workflow
		return nil
	case e.OneShot && given != nil:
		return Mistakes{src.mistake(path, "%s happens once and has no duration; remove it (%s makes it happen again)", e.Action, annotationRepeat)}
	case e.OneShot:
		return nil
	case given == nil:
		return Mistakes{src.mistake(path, `missing; a fault that lasts needs an end, such as "12s"`)}
	case !isText:
		return Mistakes{src.mistake(path, `%s is not a duration; want one such as "12s"`, shown(given))}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return Mistakes{src.mistake(path, `%q is not a duration above 0; want one such as "12s" or "1m30s"`, text)}
	}
	e.Duration = d
	return nil
}

// ask lets Chaos Mesh's own webhook fill in defaults and look for what our
// checks do not know of. Its findings on lines that have a mistake already
// would only say the same less clearly.
func (e *Experiment) ask(src *source, known Mistakes) Mistakes {
	genericwebhook.Default(e.Object)
	var found field.ErrorList
	switch obj := e.Object.(type) {
	case *v1alpha1.Schedule:
		obj.Spec.ConcurrencyPolicy.Default()
		found = obj.Spec.Validate(&obj.Spec)
	case *v1alpha1.Workflow:
		// Its checks are reachable only through a webhook that logs, and no
		// testbed takes a Workflow: the verifier schedules.
	default:
		found = genericwebhook.Validate(e.Object)
	}
	var all Mistakes
	for _, f := range found {
		m := src.mistake("", "%s", f.Error())
		m.Line = src.line(f.Field)
		if !slices.ContainsFunc(known, func(k Mistake) bool { return k.Line == m.Line }) {
			all = append(all, m)
		}
	}
	return all
}

// fieldsAt lists the names of the fields that an object of type t has at path,
// sorted; nil where the path leads nowhere.
func fieldsAt(t reflect.Type, path string) []string {
	for path != "" {
		var head string
		head, path = cutSegment(path)
		if t = child(t, head); t == nil {
			return nil
		}
	}
	names := map[string]bool{}
	eachField(t, func(name string, _ reflect.Type) { names[name] = true })
	return slices.Sorted(maps.Keys(names))
}

// child is the type of the field, element or value that a segment leads to.
func child(t reflect.Type, segment string) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Map:
		return t.Elem()
	case reflect.Struct:
		var found reflect.Type
		eachField(t, func(name string, f reflect.Type) {
			if name == segment {
				found = f
			}
		})
		return found
	}
	return nil
}

// eachField visits the JSON fields of a struct, those of embedded ones included.
func eachField(t reflect.Type, visit func(name string, t reflect.Type)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case name == "":
			eachField(f.Type, visit)
		default:
			visit(name, f.Type)
		}
	}
}
