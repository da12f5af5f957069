package experiments

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

// Stress is a StressChaos in numbers: what runs beside the container, in its
// cgroup.
type Stress struct {
	CPUWorkers int // threads that compute; 0: none
	CPULoad    int // the share of time that each of them does so, in percent

	MemoryWorkers int // processes that hold memory; 0: none
	// MemoryBytes is what each of them holds. With MemoryPercent it is that
	// share of all the memory there is; with neither it is all.
	MemoryBytes   int64
	MemoryPercent int
	OOMScoreAdj   int // of the processes that hold memory, -1000 to 1000

	Options bool // has options of stress-ng's, which only stress-ng understands
}

// StressOf turns a StressChaos into numbers. The error names each field that
// cannot be read, and its value.
func StressOf(chaos *v1alpha1.StressChaos) (Stress, error) {
	s, findings := stressOf(chaos.Spec)
	errs := make([]error, len(findings))
	for i, f := range findings {
		errs[i] = f
	}
	if err := errors.Join(errs...); err != nil {
		return Stress{}, err
	}
	return s, nil
}

func stressAction(chaos *v1alpha1.StressChaos) string {
	if chaos.Spec.StressngStressors != "" {
		return "stress-ng" // it wins over stressors
	}
	var parts []string
	if s := chaos.Spec.Stressors; s != nil {
		if s.CPUStressor != nil {
			parts = append(parts, "cpu")
		}
		if s.MemoryStressor != nil {
			parts = append(parts, "memory")
		}
	}
	return strings.Join(parts, "+")
}

// maxWorkers is stress-ng's.
const maxWorkers = 8192

func stressOf(spec v1alpha1.StressChaosSpec) (Stress, []finding) {
	var s Stress
	r := &reading{}
	if spec.StressngStressors != "" {
		s.Options = true
		return s, nil
	}
	if spec.Stressors == nil || spec.Stressors.CPUStressor == nil && spec.Stressors.MemoryStressor == nil {
		r.wrong("spec.stressors", "missing; want cpu or memory, or both")
		return s, r.findings
	}
	if c := spec.Stressors.CPUStressor; c != nil {
		s.CPUWorkers = r.workers("spec.stressors.cpu.workers", c.Workers)
		s.CPULoad = 100
		if c.Load != nil {
			s.CPULoad = r.within("spec.stressors.cpu.load", *c.Load, 0, 100)
		}
		s.Options = s.Options || len(c.Options) > 0
	}
	if m := spec.Stressors.MemoryStressor; m != nil {
		s.MemoryWorkers = r.workers("spec.stressors.memory.workers", m.Workers)
		s.MemoryBytes, s.MemoryPercent = r.memory("spec.stressors.memory.size", m.Size)
		s.OOMScoreAdj = r.within("spec.stressors.memory.oomScoreAdj", m.OOMScoreAdj, -1000, 1000)
		s.Options = s.Options || len(m.Options) > 0
	}
	return s, r.findings
}

func (r *reading) workers(path string, n int) int { return r.within(path, n, 1, maxWorkers) }

func (r *reading) within(path string, n, least, most int) int {
	if n < least || n > most {
		r.wrong(path, "%d; want a number from %d to %d", n, least, most)
	}
	return n
}

// memory reads "64MB" (units are of 1024, as the stressor takes them) or "50%".
func (r *reading) memory(path, text string) (bytes int64, percent int) {
	if text == "" {
		return 0, 100
	}
	if number, ok := strings.CutSuffix(text, "%"); ok {
		if p, err := strconv.Atoi(number); err == nil && p > 0 && p <= 100 {
			return 0, p
		}
	} else if n, ok := parseBytes(text); ok {
		return n, 0
	}
	r.wrong(path, `%q is not a size; want a number with B, KB, MB, GB or TB (also KiB, ...), such as "64MB", or a percentage from "1%%" to "100%%"`, text)
	return 0, 0
}

// parseBytes reads a size above 0 that has a unit.
func parseBytes(text string) (int64, bool) {
	upper := strings.ToUpper(text)
	digits := strings.TrimRight(upper, "KMGTIB")
	unit := upper[len(digits):]
	powers := map[string]int{"B": 0, "KB": 1, "KIB": 1, "MB": 2, "MIB": 2, "GB": 3, "GIB": 3, "TB": 4, "TIB": 4}
	power, ok := powers[unit]
	n, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil {
		return 0, false
	}
	n *= math.Pow(1024, float64(power))
	return int64(n), n >= 1 && n < 1<<50
}
