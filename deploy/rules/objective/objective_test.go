package objective_test

import (
	"strings"
	"testing"

	"seatrial/deploy/rules/objective"
)

const answered = `apiVersion: openslo/v1
kind: SLO
metadata:
  name: answers
  annotations:
    seatrial/alert: AnswersBad
    seatrial/events: answers
    seatrial/bad-events: bad_answers
    seatrial/bad-means: of the answers of {window} weren't good
spec:
  description: 99.9 % of the answers are good.
  service: s
  indicator:
    metadata: {name: good-answers}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: Prometheus, spec: {query: 'answers_total{code=~"2..", path="/{id}"}'}}}
        total: {metricSource: {type: Prometheus, spec: {query: answers_total}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: good, target: 0.999}]
`

func TestParse(t *testing.T) {
	o, err := objective.Parse("answers.yaml", []byte(answered))
	if err != nil {
		t.Fatal(err)
	}
	want := objective.Objective{
		Name: "answers", Description: "99.9 % of the answers are good.", Target: 0.999, Period: "30d",
		Good: `answers_total{code=~"2..", path="/{id}"}`, Total: "answers_total",
		Alert: "AnswersBad", Events: "answers", BadEvents: "bad_answers", BadMeans: "of the answers of {window} weren't good",
	}
	if o != want {
		t.Errorf("%+v\nwant %+v", o, want)
	}
}

// TestParseRefuses changes one thing of a file that is right.
func TestParseRefuses(t *testing.T) {
	for want, change := range map[string][2]string{
		"want openslo/v1 SLO":                      {"openslo/v1", "openslo/v2alpha"},
		"line 2: cannot unmarshal":                 {"kind: SLO", "kind: [SLO]"},
		"field budget not found":                   {"  service: s", "  service: s\n  budget: 1"},
		"are needed":                               {"  service: s", "  service: ''"},
		`budgetingMethod "Timeslices"`:             {"Occurrences", "Timeslices"},
		"want one timeWindow, rolling":             {"isRolling: true", "isRolling: false"},
		`timeWindow: "1M" is no duration`:          {"30d", "1M"},
		"target 99.9: want more than 0":            {"target: 0.999", "target: 99.9"},
		"target NaN":                               {"target: 0.999", "target: .nan"},
		"0 objectives: want one":                   {"[{displayName: good, target: 0.999}]", "[]"},
		`"answersBad" is no alert's name`:          {"AnswersBad", "answersBad"},
		`"bad answers" is no part of`:              {"bad_answers", "bad answers"},
		"does not say {window}":                    {"{window}", "late"},
		`"up == 0" is no recorded series`:          {"seatrial/events", "seatrial/or: up == 0\n    seatrial/or-means: are down\n    seatrial/events"},
		"want both or neither":                     {"seatrial/events", "seatrial/or: seatrial:a:b\n    seatrial/events"},
		"want counter: true":                       {"counter: true", "counter: false"},
		"want either good or bad":                  {"good: {metricSource", "bad: {metricSource: {type: Prometheus, spec: {query: a}}}\n        good: {metricSource"},
		`total: type "": want Prometheus`:          {"        total: {metricSource: {type: Prometheus, spec: {query: answers_total}}}\n", ""},
		`good: query "sum(answers_total)"`:         {`'answers_total{code=~"2..", path="/{id}"}'`, "sum(answers_total)"},
		`total: query "answers_total[5m]": want`:   {"query: answers_total}", "query: 'answers_total[5m]'}"},
		`good: type "Graphite": want Prometheus`:   {"good: {metricSource: {type: Prometheus", "good: {metricSource: {type: Graphite"},
		`query "answers_total{} or b": want the s`: {"query: answers_total}", "query: 'answers_total{} or b'}"},
	} {
		if !strings.Contains(answered, change[0]) {
			t.Fatalf("the file does not hold %q", change[0])
		}
		_, err := objective.Parse("answers.yaml", []byte(strings.Replace(answered, change[0], change[1], 1)))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "read objective answers.yaml: ") {
			t.Errorf("%q for %q: %v, want …%s…", change[1], change[0], err, want)
		}
	}
}

var seldom = objective.Scale{
	Name: "seldom", Interval: "1m", Slowly: "1h",
	Burns: []objective.Burn{{Long: "1h", Short: "5m", Factor: 14.4, Severity: "page", For: "2m", Words: "the last hour"},
		{Long: "3d", Short: "6h", Factor: 1, Severity: "ticket", For: "1h", Words: "the last 3 days"}},
	Times: map[string]string{"now": "1m"},
}

const generated = `groups:
- name: seatrial-sli
  interval: 1m
  rules:
  # 99.9 % of the answers are good.
  - record: seatrial:answers:rate5m
    expr: sum(rate(answers_total[5m]))
  - record: seatrial:bad_answers:ratio5m
    expr: 1 - (sum(rate(answers_total{code=~"2..", path="/{id}"}[5m])) or 0 * seatrial:answers:rate5m) / (seatrial:answers:rate5m > 0)
  - record: seatrial:answers:rate1h
    expr: sum(rate(answers_total[1h]))
  - record: seatrial:bad_answers:ratio1h
    expr: 1 - (sum(rate(answers_total{code=~"2..", path="/{id}"}[1h])) or 0 * seatrial:answers:rate1h) / (seatrial:answers:rate1h > 0)

- name: seatrial-sli-long
  interval: 1h
  rules:
  # 99.9 % of the answers are good.
  - record: seatrial:answers:rate6h
    expr: sum(rate(answers_total[6h]))
  - record: seatrial:bad_answers:ratio6h
    expr: 1 - (sum(rate(answers_total{code=~"2..", path="/{id}"}[6h])) or 0 * seatrial:answers:rate6h) / (seatrial:answers:rate6h > 0)
  - record: seatrial:answers:rate3d
    expr: sum(rate(answers_total[3d]))
  - record: seatrial:bad_answers:ratio3d
    expr: 1 - (sum(rate(answers_total{code=~"2..", path="/{id}"}[3d])) or 0 * seatrial:answers:rate3d) / (seatrial:answers:rate3d > 0)

- name: seatrial-slo
  interval: 1m
  rules:
  # 99.9 % of the answers are good. Budget: 0.001 of the events of 30d.
  - alert: AnswersBad
    expr: |
      seatrial:bad_answers:ratio1h > 14.4 * 0.001
      and seatrial:bad_answers:ratio5m > 14.4 * 0.001
      and seatrial:bad_answers:ratio5m * seatrial:answers:rate5m * 300 >= 5
    for: 2m
    labels: {severity: page, window: 1h}
    annotations:
      summary: '{{ $value | humanizePercentage }} of the answers of the last hour weren''t good'
      runbook_url: runbooks/AnswersBad.md
  - alert: AnswersBad
    expr: |
      seatrial:bad_answers:ratio3d > 1 * 0.001
      and seatrial:bad_answers:ratio6h > 1 * 0.001
      and seatrial:bad_answers:ratio6h * seatrial:answers:rate6h * 21600 >= 5
    for: 1h
    labels: {severity: ticket, window: 3d}
    annotations:
      summary: '{{ $value | humanizePercentage }} of the answers of the last 3 days weren''t good'
      runbook_url: runbooks/AnswersBad.md

- name: down
  rules:
  - {alert: Down, expr: up == 0, for: 1m}
`

func TestGenerate(t *testing.T) {
	o, err := objective.Parse("answers.yaml", []byte(answered))
	if err != nil {
		t.Fatal(err)
	}
	causes := objective.File{Name: "causes.yaml", Text: []byte("# By hand.\ngroups:\n- name: down\n  rules:\n  - {alert: Down, expr: up == 0, for: ${now}}\n")}
	text, err := objective.Generate(seldom, []objective.Objective{o}, []objective.File{causes})
	if err != nil {
		t.Fatal(err)
	}
	if _, got, _ := strings.Cut(string(text), "\n\n"); got != generated {
		t.Errorf("%s\nwant\n%s", got, generated)
	}
}

func TestBadEventsAreCountedAsTheyAre(t *testing.T) {
	o := objective.Objective{Name: "o", Target: 0.9, Bad: "b_total", Total: "t_total", Alert: "A", Events: "e", BadEvents: "b", BadMeans: "{window}"}
	text, err := objective.Generate(objective.Trial, []objective.Objective{o}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"expr: (sum(rate(b_total[15s])) or 0 * seatrial:e:rate15s) / (seatrial:e:rate15s > 0)\n",
		"seatrial:b:ratio60s > 14.4 * 0.1\n", "labels: {severity: page}\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}

// TestFirstBurnRingsForMore: the series that is more than any ratio rings with the first burn, and only with that.
func TestFirstBurnRingsForMore(t *testing.T) {
	o := objective.Objective{Name: "o", Target: 0.9, Bad: "b_total", Total: "t_total", Alert: "A", Events: "e", BadEvents: "b", BadMeans: "in {window}",
		Or: "seatrial:a:b", OrMeans: "don't end"}
	text, err := objective.Generate(seldom, []objective.Objective{o}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, once := range []string{
		" * 300 >= 5\n      or seatrial:a:b\n    for: 2m\n",
		"'{{ if gt $value 1.0 }}{{ $value | humanize }} don''t end{{ else }}{{ $value | humanizePercentage }} in the last hour{{ end }}'\n",
		"seatrial:a:b",
	} {
		if n := strings.Count(string(text), once); n != 1 {
			t.Errorf("%q is there %d times in\n%s", once, n, text)
		}
	}
}

func TestGenerateRefuses(t *testing.T) {
	for want, text := range map[string]string{
		`causes.yaml:4: the scale trial has no ${never}`: "# A.\ngroups:\n- name: a\n  interval: ${never}\n",
		`causes.yaml: want a line "groups:"`:             "- name: a\n",
	} {
		_, err := objective.Generate(objective.Trial, nil, []objective.File{{Name: "causes.yaml", Text: []byte(text)}})
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	scale := objective.Scale{Name: "odd", Burns: []objective.Burn{{Long: "1h", Short: "soon"}}}
	if _, err := objective.Generate(scale, nil, nil); err == nil || !strings.Contains(err.Error(), `scale odd: "soon" is no duration`) {
		t.Error(err)
	}
}

// TestScalesHaveTheSameTimes: causes are written once for all scales.
func TestScalesHaveTheSameTimes(t *testing.T) {
	for name := range objective.Trial.Times {
		if objective.Production.Times[name] == "" {
			t.Errorf("the scale of production has no %s", name)
		}
	}
	if a, b := len(objective.Trial.Times), len(objective.Production.Times); a != b {
		t.Errorf("%d times for trials, %d for production", a, b)
	}
}
