package architecture

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "seatrial/"

// pkg is a package as its files show it.
type pkg struct {
	imports []string // of this module, without its name
	doc     bool
	main    bool
}

// packages parses every package of the module, without tests. It reads the
// sources itself, so that the test runs anew when one of them changes.
func packages(t *testing.T, root string) map[string]*pkg {
	t.Helper()
	all := map[string]*pkg{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "testdata" || d.Name() == "bin" || d.Name() == "reports" {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && path != root {
				return filepath.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		if all[dir] == nil {
			all[dir] = &pkg{}
		}
		all[dir].add(file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (p *pkg) add(file *ast.File) {
	p.doc = p.doc || file.Doc != nil
	p.main = p.main || file.Name.Name == "main"
	for _, i := range file.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		if inner, ok := strings.CutPrefix(path, module); ok && !slices.Contains(p.imports, inner) {
			p.imports = append(p.imports, inner)
		}
	}
}

// plan reads plan.txt.
func plan(t *testing.T) map[string][]string {
	t.Helper()
	f, err := os.Open("plan.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	drawn := map[string][]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, imports, ok := strings.Cut(line, ":")
		if !ok {
			t.Fatalf("plan.txt: %q: want \"package: imports\"", line)
		}
		drawn[name] = strings.Fields(imports)
	}
	return drawn
}

// violations compares the house with its plan.
func violations(house map[string]*pkg, drawn map[string][]string) (found []string) {
	for dir, p := range house {
		if !p.doc {
			found = append(found, dir+" has no package comment")
		}
		inServices := strings.HasPrefix(dir, "services/")
		allowed, ok := drawn[dir]
		if !ok && !inServices && !p.main {
			found = append(found, dir+" has no line in plan.txt")
		}
		for _, i := range p.imports {
			toServices := strings.HasPrefix(i, "services/")
			switch {
			case inServices != toServices:
				found = append(found, dir+" imports "+i+": services/ stands alone")
			case house[i] != nil && house[i].main:
				found = append(found, dir+" imports the command "+i)
			case inServices || p.main: // inside services/ their own tests judge; commands wire
			case !slices.Contains(allowed, i):
				found = append(found, dir+" imports "+i+", which plan.txt does not draw")
			}
		}
	}
	for dir := range drawn {
		if house[dir] == nil {
			found = append(found, "plan.txt draws "+dir+", which is not there")
		}
	}
	slices.Sort(found)
	return found
}

func TestTheHouseStandsAsDrawn(t *testing.T) {
	for _, v := range violations(packages(t, ".."), plan(t)) {
		t.Error(v)
	}
}

// TestViolationsAreSeen is the test of the test: each wrong house is caught.
func TestViolationsAreSeen(t *testing.T) {
	drawn := map[string][]string{"a": {"b"}, "b": nil}
	good := func() map[string]*pkg {
		return map[string]*pkg{"a": {imports: []string{"b"}, doc: true}, "b": {doc: true}, "services/x": {doc: true}, "a/cmd": {doc: true, main: true, imports: []string{"a"}}}
	}
	if found := violations(good(), drawn); len(found) != 0 {
		t.Fatalf("a good house: %v", found)
	}
	for name, break_ := range map[string]func(map[string]*pkg){
		"b imports a, which plan.txt does not draw":    func(h map[string]*pkg) { h["b"].imports = []string{"a"} },
		"c has no line in plan.txt":                    func(h map[string]*pkg) { h["c"] = &pkg{doc: true} },
		"b has no package comment":                     func(h map[string]*pkg) { h["b"].doc = false },
		"a imports services/x: services/ stands alone": func(h map[string]*pkg) { h["a"].imports = append(h["a"].imports, "services/x") },
		"services/x imports a: services/ stands alone": func(h map[string]*pkg) { h["services/x"].imports = []string{"a"} },
		"a imports the command a/cmd":                  func(h map[string]*pkg) { h["a"].imports = append(h["a"].imports, "a/cmd") },
		"plan.txt draws b, which is not there":         func(h map[string]*pkg) { delete(h, "b") },
	} {
		house := good()
		break_(house)
		if found := violations(house, drawn); !slices.Contains(found, name) {
			t.Errorf("want %q among %v", name, found)
		}
	}
}
