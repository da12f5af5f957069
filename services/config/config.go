// Package config fills a plain struct from its defaults, a YAML file and the
// environment, in this order, and names every mistake at once.
//
// It knows no setting: whoever owns a setting declares it as a struct field
// with the tags env (its key), default and what (one line of help), and says
// what is wrong with its value in a method Problems.
package config

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Prefix begins every key. In a file the same key is written without it and in
// lower case: SEATRIAL_NATS_URLS is nats_urls.
const Prefix = "SEATRIAL_"

// Problems is implemented by settings that judge their own values. Each line
// begins with the key it is about, followed by a colon.
type Problems interface{ Problems() []string }

// Mistakes is every mistake of a configuration; it is never empty.
type Mistakes []string

// Error puts each mistake on a line of its own.
func (m Mistakes) Error() string {
	return fmt.Sprintf("configuration: %d mistake(s)\n  %s", len(m), strings.Join(m, "\n  "))
}

// Load fills dst, a pointer to a struct, and validates it. file may be "".
// lookup is os.LookupEnv outside of tests. The error is Mistakes, or says why
// the file could not be read.
func Load(dst any, file string, lookup func(string) (string, bool)) error {
	fields := fieldsOf(reflect.ValueOf(dst).Elem())
	fromFile, mistakes, err := readFile(file, fields)
	if err != nil {
		return err
	}
	broken := map[string]bool{}
	for _, f := range fields {
		text, ok := lookup(f.key)
		if !ok {
			if text, ok = fromFile[f.key]; !ok {
				text = f.byDefault
			}
		}
		if err := set(f.value, text); err != nil {
			broken[f.key] = true
			mistakes = append(mistakes, fmt.Sprintf("%s: %v", f.key, err))
		}
	}
	if p, ok := dst.(Problems); ok {
		for _, line := range p.Problems() {
			// A value that could not be read has been named already.
			if key, _, _ := strings.Cut(line, ":"); !broken[key] {
				mistakes = append(mistakes, line)
			}
		}
	}
	if len(mistakes) > 0 {
		return Mistakes(mistakes)
	}
	return nil
}

// Setting describes one key for help and documentation.
type Setting struct{ Key, Default, What string }

// Settings lists what Load reads into dst, in the order of the fields.
func Settings(dst any) []Setting {
	var out []Setting
	for _, f := range fieldsOf(reflect.ValueOf(dst).Elem()) {
		out = append(out, Setting{Key: f.key, Default: f.byDefault, What: f.what})
	}
	return out
}

type field struct {
	key, byDefault, what string
	value                reflect.Value
}

func fieldsOf(v reflect.Value) []field {
	var out []field
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		key, ok := sf.Tag.Lookup("env")
		switch {
		case ok:
			out = append(out, field{Prefix + key, sf.Tag.Get("default"), sf.Tag.Get("what"), v.Field(i)})
		case sf.Type.Kind() == reflect.Struct:
			out = append(out, fieldsOf(v.Field(i))...)
		}
	}
	return out
}

// readFile returns the file's values by key, as text.
func readFile(file string, fields []field) (map[string]string, []string, error) {
	if file == "" {
		return nil, nil, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	var doc map[string]any
	if err := yaml.UnmarshalStrict(raw, &doc); err != nil {
		return nil, nil, fmt.Errorf("read configuration %s: %w", file, err)
	}
	values, mistakes := map[string]string{}, []string(nil)
	for name, v := range doc {
		key := Prefix + strings.ToUpper(name)
		known := slices.ContainsFunc(fields, func(f field) bool { return f.key == key })
		if !known || name != strings.ToLower(name) {
			mistakes = append(mistakes, fmt.Sprintf("%s: %s is no setting", file, name))
			continue
		}
		text, err := textOf(v)
		if err != nil {
			mistakes = append(mistakes, fmt.Sprintf("%s: %s: %v", file, name, err))
			continue
		}
		values[key] = text
	}
	sort.Strings(mistakes)
	return values, mistakes, nil
}

// textOf writes a YAML scalar, or a list of scalars, the way the environment
// would hold it.
func textOf(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			s, err := textOf(e)
			if err != nil {
				return "", err
			}
			parts[i] = s
		}
		return strings.Join(parts, ","), nil
	}
	return "", fmt.Errorf("want text, a number, true, false or a list of these")
}

func set(v reflect.Value, text string) error {
	switch p := v.Addr().Interface().(type) {
	case *string:
		*p = text
	case *[]string:
		*p = list(text)
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("want a duration such as 500ms or 4s, got %q", text)
		}
		*p = d
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("want a whole number, got %q", text)
		}
		*p = n
	default:
		panic(fmt.Sprintf("config: a setting of type %s", v.Type()))
	}
	return nil
}

func list(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
