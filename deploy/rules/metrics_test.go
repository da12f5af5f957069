package rules_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

var (
	quotes   = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	brackets = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]`)
	lists    = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`)
	words    = regexp.MustCompile(`[0-9][0-9a-z.]*|[a-zA-Z_:][a-zA-Z0-9_:]*(\s*\()?`)
	keywords = strings.Fields("and or unless bool offset sum min max count avg by without on ignoring group_left group_right")
)

// series lists the names of the series that an expression reads.
func series(expr string) (names []string) {
	text := quotes.ReplaceAllString(expr, "")
	text = brackets.ReplaceAllString(text, " ")
	text = lists.ReplaceAllString(text, " ")
	for _, w := range words.FindAllString(text, -1) {
		if strings.HasSuffix(w, "(") || w[0] >= '0' && w[0] <= '9' || slices.Contains(keywords, w) {
			continue
		}
		names = append(names, w)
	}
	return names
}

// unexported names every series that a rule reads and that neither a rule records nor anybody exports.
func unexported(all ruleSet, exported map[string]bool) (problems []string) {
	recorded := map[string]bool{}
	for _, r := range all {
		recorded[r.Record] = true
	}
	for _, r := range all {
		for _, name := range series(r.Expr) {
			if !recorded[name] && !exported[name] {
				problems = append(problems, fmt.Sprintf("%s reads %s, which nobody exports", r.Alert+r.Record, name))
			}
		}
	}
	return problems
}

// of others: what Prometheus adds, redis_exporter, and kube-state-metrics where there is one.
var ofOthers = []string{"up", "kube_deployment_status_condition",
	"redis_up", "redis_instance_info", "redis_connected_slaves", "redis_start_time_seconds", "redis_aof_delayed_fsync",
	"redis_master_last_io_seconds_ago",
	"redis_commands_total", "redis_commands_duration_seconds_total"}

// exported collects the names of metrics from the sources of those who export them.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, name := range ofOthers {
		names[name] = true
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		names[f.GetName()] = true
		if f.GetType().String() == "SUMMARY" {
			names[f.GetName()+"_count"], names[f.GetName()+"_sum"] = true, true
		}
	}
	for _, root := range []string{"../../services", "../../loadgen"} {
		if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err == nil {
				ast.Inspect(file, func(n ast.Node) bool { declared(n, names); return true })
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// declared adds the name of a metric that a node declares: prometheus.XOpts{Name: "…"}, or the
// first argument of NewDesc and of what our packages wrap around it.
func declared(n ast.Node, names map[string]bool) {
	switch n := n.(type) {
	case *ast.CompositeLit:
		kind, ok := n.Type.(*ast.SelectorExpr)
		if !ok || !strings.HasSuffix(kind.Sel.Name, "Opts") {
			return
		}
		for _, e := range n.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok && fmt.Sprint(kv.Key) == "Name" {
				add(kv.Value, kind.Sel.Name == "HistogramOpts", names)
			}
		}
	case *ast.CallExpr:
		called := ""
		switch f := n.Fun.(type) {
		case *ast.Ident:
			called = f.Name
		case *ast.SelectorExpr:
			called = f.Sel.Name
		}
		if slices.Contains([]string{"NewDesc", "desc", "counter"}, called) && len(n.Args) > 0 {
			add(n.Args[0], false, names)
		}
	}
}

func add(e ast.Expr, histogram bool, names map[string]bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok {
		return
	}
	name, err := strconv.Unquote(lit.Value)
	if err != nil {
		return
	}
	if !histogram {
		names[name] = true
		return
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		names[name+suffix] = true
	}
}

func TestRulesReadWhatIsExported(t *testing.T) {
	names := exported(t)
	for _, file := range ruleFiles {
		for _, p := range unexported(readRules(t, file), names) {
			t.Errorf("%s: %s", file, p)
		}
		broken := parseRules(t, replaced(t, slurp(t, file), "api_requests_total", "http_requests_total"))
		problems := strings.Join(unexported(broken, names), "\n")
		if !strings.Contains(problems, "reads http_requests_total, which nobody exports") {
			t.Errorf("%s: a renamed metric is not seen, but:\n%s", file, problems)
		}
		broken = parseRules(t, replaced(t, slurp(t, file), "record: seatrial:backlog:length", "record: seatrial:backlog:size"))
		if problems := strings.Join(unexported(broken, names), "\n"); !strings.Contains(problems, "BacklogGrowing reads seatrial:backlog:length") {
			t.Errorf("%s: a renamed recorded series is not seen, but:\n%s", file, problems)
		}
	}
}

func TestSeries(t *testing.T) {
	for expr, want := range map[string]string{
		`sum by (job, pod) (rate(a_total{x="b_total{"}[15s])) / on (pod) group_left (release) c:d`: "a_total c:d",
		`avg_over_time((e > bool 0.025)[10s:1s]) > 0.3 or vector(0)`:                               "e",
		`(up{job="api"} offset 15s == 1) unless on (pod) up`:                                       "up up",
		`1 - sum without (le) (f) > 1e9`:                                                           "f",
	} {
		if got := strings.Join(series(expr), " "); got != want {
			t.Errorf("series(%s) = %s, want %s", expr, got, want)
		}
	}
}

// wholeBound finds le="5": Prometheus 3 calls that bucket 5.0, and a rule with it is silent for ever.
var wholeBound = regexp.MustCompile(`le="[0-9]+"`)

func TestBucketsAreFoundByAnyPrometheus(t *testing.T) {
	for _, file := range ruleFiles {
		for _, r := range readRules(t, file) {
			if m := wholeBound.FindString(r.Expr); m != "" {
				t.Errorf(`%s: %s asks for %s; want le=~"N([.]0)?"`, file, r.Alert+r.Record, m)
			}
		}
	}
	if !wholeBound.MatchString(`worker_task_age_seconds_bucket{le="5"}`) {
		t.Error("a bound that only Prometheus 2 writes is not seen")
	}
}
