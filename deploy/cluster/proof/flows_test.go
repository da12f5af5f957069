package proof

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// needs is a file like deploy/charts/flows.yaml: who needs whom, and who else is tried.
type needs struct {
	Outsiders []outsider
	Flows     []string
}

type outsider struct {
	Name, Namespace string
	Labels          map[string]string
	Ports           []intstr.IntOrString
}

func readNeeds(t *testing.T, file string) needs {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var n needs
	if err := yaml.UnmarshalStrict(text, &n); err != nil {
		t.Fatalf("read %s: %v", file, err)
	}
	return n
}

// What a connection came to.
const (
	open    = "open"    // somebody answered
	silent  = "silent"  // nobody answered: dropped on the way
	refused = "refused" // the pod's kernel answered that nobody listens
)

// try is one connection that was tried.
type try struct {
	From string `json:"from"` // kind of the sender
	To   string `json:"to"`   // kind of the receiver
	Pod  string `json:"pod"`  // the receiver: a pod, or one of the node's addresses
	Port string `json:"port"` // 6379, or 53/udp
	Seen string `json:"seen"` // open, silent or refused
}

func (t try) flow() string { return t.From + "->" + t.To + ":" + t.Port }

// wrong compares what was tried with what is needed, and is empty when they agree.
// A connection that is refused got as far as the pod, past all policies.
func wrong(flows []string, tries []try) []string {
	var problems []string
	for _, t := range tries {
		needed := slices.Contains(flows, t.flow())
		switch {
		case needed && t.Seen != open:
			problems = append(problems, fmt.Sprintf("needed, and %s: %s (pod %s)", t.Seen, t.flow(), t.Pod))
		case !needed && t.Seen == open:
			problems = append(problems, fmt.Sprintf("open, and nobody needs it: %s (pod %s)", t.flow(), t.Pod))
		case !needed && t.Seen == refused:
			problems = append(problems, fmt.Sprintf("let through to a port where nobody listens: %s (pod %s)", t.flow(), t.Pod))
		}
	}
	for _, f := range flows {
		if !slices.ContainsFunc(tries, func(t try) bool { return t.flow() == f }) {
			problems = append(problems, "needed, and not tried: "+f)
		}
	}
	slices.Sort(problems)
	return problems
}

// matrix shows senders as columns and receivers' ports as rows.
func matrix(tries []try) string {
	seen := map[[2]string][]string{}
	var from, to []string
	for _, t := range tries {
		key := [2]string{t.To + ":" + t.Port, t.From}
		seen[key] = append(seen[key], t.Seen)
		from, to = append(from, t.From), append(to, key[0])
	}
	slices.Sort(from)
	slices.Sort(to)
	from, to = slices.Compact(from), slices.Compact(to)
	var b strings.Builder
	fmt.Fprintf(&b, "| to \\ from | %s |\n|---%s|\n", strings.Join(from, " | "), strings.Repeat("|---", len(from)))
	for _, row := range to {
		fmt.Fprintf(&b, "| %s |", row)
		for _, column := range from {
			fmt.Fprintf(&b, " %s |", cell(seen[[2]string{row, column}]))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// cell is what was seen of all pods of a kind; nothing where it was not tried.
func cell(seen []string) string {
	slices.Sort(seen)
	switch all := slices.Compact(slices.Clone(seen)); {
	case len(all) == 0:
		return ""
	case len(all) > 1:
		return strings.Join(all, "/")
	case all[0] == silent:
		return "·"
	default:
		return all[0]
	}
}

// The judge is shown each thing that it must find.
func TestWrongFlows(t *testing.T) {
	flows := []string{"api->nats:4222", "api->dns:53/udp"}
	fine := []try{
		{"api", "nats", "nats-0", "4222", open}, {"api", "nats", "nats-1", "4222", open},
		{"api", "dns", "coredns-x", "53/udp", open},
		{"stranger", "nats", "nats-0", "4222", silent}, {"api", "nats", "nats-0", "6222", silent},
	}
	if problems := wrong(flows, fine); len(problems) > 0 {
		t.Errorf("found where nothing is wrong: %q", problems)
	}
	for _, tt := range []struct {
		change func([]try) []try
		want   string
	}{
		{func(all []try) []try { all[1].Seen = silent; return all }, "needed, and silent: api->nats:4222 (pod nats-1)"},
		{func(all []try) []try { all[2].Seen = refused; return all }, "needed, and refused: api->dns:53/udp (pod coredns-x)"},
		{func(all []try) []try { all[3].Seen = open; return all }, "open, and nobody needs it: stranger->nats:4222 (pod nats-0)"},
		{func(all []try) []try { all[4].Seen = refused; return all }, "let through to a port where nobody listens: api->nats:6222 (pod nats-0)"},
		{func(all []try) []try { return append(all[:2], all[3:]...) }, "needed, and not tried: api->dns:53/udp"},
	} {
		if problems := wrong(flows, tt.change(slices.Clone(fine))); !slices.Equal(problems, []string{tt.want}) {
			t.Errorf("found %q, want %q", problems, tt.want)
		}
	}
}
