package experiments

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

// network is a NetworkChaos as its webhook leaves it.
func network(action v1alpha1.NetworkChaosAction, set func(*v1alpha1.NetworkChaosSpec)) *v1alpha1.NetworkChaos {
	chaos := &v1alpha1.NetworkChaos{}
	chaos.Spec.Action = action
	set(&chaos.Spec)
	return chaos
}

func TestNetemOfReadsChaosMeshsStrings(t *testing.T) {
	for name, test := range map[string]struct {
		chaos *v1alpha1.NetworkChaos
		want  Netem
	}{
		"delay": {network("delay", func(s *v1alpha1.NetworkChaosSpec) {
			s.Delay = &v1alpha1.DelaySpec{Latency: "50ms", Jitter: "10.5ms", Correlation: "25"}
			s.Direction = v1alpha1.Both
		}), Netem{Delay: 50 * time.Millisecond, Jitter: 10500 * time.Microsecond, DelayCorrelation: .25, Direction: "both"}},
		"delay alone": {network("delay", func(s *v1alpha1.NetworkChaosSpec) {
			s.Delay = &v1alpha1.DelaySpec{Latency: "1s"}
		}), Netem{Delay: time.Second, Direction: "to"}},
		"reorder": {network("delay", func(s *v1alpha1.NetworkChaosSpec) {
			s.Delay = &v1alpha1.DelaySpec{Latency: "10ms", Reorder: &v1alpha1.ReorderSpec{Reorder: "25", Correlation: "50", Gap: 5}}
		}), Netem{Delay: 10 * time.Millisecond, Reorder: .25, ReorderCorrelation: .5, Gap: 5, Direction: "to"}},
		"loss": {network("loss", func(s *v1alpha1.NetworkChaosSpec) {
			s.Loss = &v1alpha1.LossSpec{Loss: "12.5", Correlation: "100"}
			s.Direction = v1alpha1.From
		}), Netem{Loss: .125, LossCorrelation: 1, Direction: "from"}},
		"netem combines": {network("netem", func(s *v1alpha1.NetworkChaosSpec) {
			s.Loss = &v1alpha1.LossSpec{Loss: "50"}
			s.Duplicate = &v1alpha1.DuplicateSpec{Duplicate: "25", Correlation: "75"}
			s.Corrupt = &v1alpha1.CorruptSpec{Corrupt: "100", Correlation: "0"}
			s.Rate = &v1alpha1.RateSpec{Rate: "8kbit"}
		}), Netem{Loss: .5, Duplicate: .25, DuplicateCorrelation: .75, Corrupt: 1, Rate: 1000, Burst: 1514, Limit: 1514000, Direction: "to"}},
		"bandwidth": {network("bandwidth", func(s *v1alpha1.NetworkChaosSpec) {
			s.Bandwidth = &v1alpha1.BandwidthSpec{Rate: "1mbps", Limit: 20971520, Buffer: 10000}
		}), Netem{Rate: 1e6, Limit: 20971520, Burst: 10000, Direction: "to"}},
		"partition": {network("partition", func(s *v1alpha1.NetworkChaosSpec) {}), Netem{Partition: true, Direction: "to"}},
		"reject": {network("partition", func(s *v1alpha1.NetworkChaosSpec) {
			s.PartitionBehavior = v1alpha1.RejectPartitionBehavior
		}), Netem{Partition: true, Reject: true, Direction: "to"}},
		"drop": {network("partition", func(s *v1alpha1.NetworkChaosSpec) {
			s.PartitionBehavior = v1alpha1.DropPartitionBehavior
		}), Netem{Partition: true, Direction: "to"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := NetemOf(test.chaos)
			if err != nil || got != test.want {
				t.Errorf("%+v, %v\nwant %+v", got, err, test.want)
			}
		})
	}
}

func TestRatesAreDecimalAndBpsIsBytes(t *testing.T) {
	for text, want := range map[string]float64{
		"8bit": 1, "1kbit": 125, "512kbit": 64_000, "1mbit": 125_000, "1gbit": 125e6, "1tbit": 125e9,
		"1bps": 1, "1kbps": 1e3, "3mbps": 3e6, "1gbps": 1e9, "1tbps": 1e12, "1MBPS": 1e6, "1Kbit": 125,
	} {
		r := &reading{}
		if got := r.rate("f", text); math.Abs(got-want) > want*1e-9 || r.findings != nil {
			t.Errorf("%s is %v bytes a second, %v; want %v", text, got, r.findings, want)
		}
	}
	for _, text := range []string{"", "1", "mbps", "1.5mbps", "-1mbps", "0mbps", "7bit", "1000001tbps", "1 mbps", "1mb", "1kib", "99999999999999999999bps"} {
		r := &reading{}
		if got := r.rate("spec.rate.rate", text); got != 0 || len(r.findings) != 1 || !strings.Contains(r.findings[0].Error(), `spec.rate.rate: "`+text+`" is not a rate`) {
			t.Errorf("%q is %v bytes a second, %v", text, got, r.findings)
		}
	}
}

func TestNetemOfNamesFieldAndValue(t *testing.T) {
	delay := func(d v1alpha1.DelaySpec) *v1alpha1.NetworkChaos {
		return network("delay", func(s *v1alpha1.NetworkChaosSpec) { s.Delay = &d })
	}
	loss := func(l, c string) *v1alpha1.NetworkChaos {
		return network("loss", func(s *v1alpha1.NetworkChaosSpec) { s.Loss = &v1alpha1.LossSpec{Loss: l, Correlation: c} })
	}
	for want, chaos := range map[string]*v1alpha1.NetworkChaos{
		`spec.delay.latency: "" is not a delay`:             delay(v1alpha1.DelaySpec{}),
		`spec.delay.latency: "0ms" is not a delay`:          delay(v1alpha1.DelaySpec{Latency: "0ms"}),
		`spec.delay.latency: "-5ms" is not a delay`:         delay(v1alpha1.DelaySpec{Latency: "-5ms"}),
		`spec.delay.latency: "1m30s" is not a delay`:        delay(v1alpha1.DelaySpec{Latency: "1m30s"}),
		`spec.delay.latency: "2h" is not a delay`:           delay(v1alpha1.DelaySpec{Latency: "2h"}),
		`spec.delay.jitter: "x" is not a delay`:             delay(v1alpha1.DelaySpec{Latency: "1s", Jitter: "x"}),
		`spec.delay.correlation: "101" is not a percentage`: delay(v1alpha1.DelaySpec{Latency: "1s", Correlation: "101"}),
		`spec.delay.reorder.gap: -1; want 0 or more`:        delay(v1alpha1.DelaySpec{Latency: "1s", Reorder: &v1alpha1.ReorderSpec{Reorder: "1", Gap: -1}}),
		`spec.delay.reorder.reorder: "" is not a`:           delay(v1alpha1.DelaySpec{Latency: "1s", Reorder: &v1alpha1.ReorderSpec{}}),
		`spec.loss.loss: "0" is not a percentage above 0`:   loss("0", ""),
		`spec.loss.loss: "25%" is not a percentage`:         loss("25%", ""),
		`spec.loss.loss: "NaN" is not a percentage`:         loss("NaN", ""),
		`spec.loss.loss: "+Inf" is not a percentage`:        loss("+Inf", ""),
		`spec.loss.correlation: "-1" is not a percentage`:   loss("5", "-1"),
		`spec.bandwidth.limit: 0; want bytes`: network("bandwidth", func(s *v1alpha1.NetworkChaosSpec) {
			s.Bandwidth = &v1alpha1.BandwidthSpec{Rate: "1mbps", Buffer: 10000}
		}),
		`spec.bandwidth.buffer: 1000; want bytes, at least 1514`: network("bandwidth", func(s *v1alpha1.NetworkChaosSpec) {
			s.Bandwidth = &v1alpha1.BandwidthSpec{Rate: "1mbps", Buffer: 1000, Limit: 1}
		}),
	} {
		if got, err := NetemOf(chaos); err == nil || !strings.Contains(err.Error(), want) || got != (Netem{}) {
			t.Errorf("%+v, %v; want %q", got, err, want)
		}
	}
}

func TestEmbeddedNetworkChaosIsReadable(t *testing.T) {
	read := 0
	for _, e := range Embedded().All() {
		if chaos, ok := e.Object.(*v1alpha1.NetworkChaos); ok {
			read++
			if n, err := NetemOf(chaos); err != nil || n == (Netem{Direction: n.Direction}) {
				t.Errorf("%s: %+v, %v", e.Name, n, err)
			}
		}
	}
	if read == 0 {
		t.Error("there is no NetworkChaos")
	}
}

func TestStressOf(t *testing.T) {
	load := func(n int) *int { return &n }
	cpu := func(c v1alpha1.CPUStressor) *v1alpha1.StressChaos {
		return &v1alpha1.StressChaos{Spec: v1alpha1.StressChaosSpec{Stressors: &v1alpha1.Stressors{CPUStressor: &c}}}
	}
	memory := func(m v1alpha1.MemoryStressor) *v1alpha1.StressChaos {
		return &v1alpha1.StressChaos{Spec: v1alpha1.StressChaosSpec{Stressors: &v1alpha1.Stressors{MemoryStressor: &m}}}
	}
	two, one := v1alpha1.Stressor{Workers: 2}, v1alpha1.Stressor{Workers: 1}
	for _, test := range []struct {
		chaos  *v1alpha1.StressChaos
		want   Stress
		wrong  string
		action string
	}{
		{cpu(v1alpha1.CPUStressor{Stressor: two}), Stress{CPUWorkers: 2, CPULoad: 100}, "", "cpu"},
		{cpu(v1alpha1.CPUStressor{Stressor: two, Load: load(0)}), Stress{CPUWorkers: 2}, "", "cpu"},
		{cpu(v1alpha1.CPUStressor{Stressor: two, Load: load(35), Options: []string{"--x"}}), Stress{CPUWorkers: 2, CPULoad: 35, Options: true}, "", "cpu"},
		{memory(v1alpha1.MemoryStressor{Stressor: one, Size: "64MB", OOMScoreAdj: 5}), Stress{MemoryWorkers: 1, MemoryBytes: 64 << 20, OOMScoreAdj: 5}, "", "memory"},
		{memory(v1alpha1.MemoryStressor{Stressor: one, Size: "1.5KiB"}), Stress{MemoryWorkers: 1, MemoryBytes: 1536}, "", "memory"},
		{memory(v1alpha1.MemoryStressor{Stressor: one, Size: "25%"}), Stress{MemoryWorkers: 1, MemoryPercent: 25}, "", "memory"},
		{memory(v1alpha1.MemoryStressor{Stressor: one}), Stress{MemoryWorkers: 1, MemoryPercent: 100}, "", "memory"},
		{&v1alpha1.StressChaos{Spec: v1alpha1.StressChaosSpec{StressngStressors: "--cpu 1"}}, Stress{Options: true}, "", "stress-ng"},
		{cpu(v1alpha1.CPUStressor{Stressor: v1alpha1.Stressor{Workers: -1}}), Stress{}, "spec.stressors.cpu.workers: -1", "cpu"},
		{cpu(v1alpha1.CPUStressor{Stressor: v1alpha1.Stressor{Workers: 8193}}), Stress{}, "spec.stressors.cpu.workers: 8193", "cpu"},
		{cpu(v1alpha1.CPUStressor{Stressor: one, Load: load(-1)}), Stress{}, "spec.stressors.cpu.load: -1", "cpu"},
		{memory(v1alpha1.MemoryStressor{Stressor: one, OOMScoreAdj: 1001}), Stress{}, "spec.stressors.memory.oomScoreAdj: 1001", "memory"},
		{memory(v1alpha1.MemoryStressor{Stressor: one, Size: "64"}), Stress{}, `spec.stressors.memory.size: "64"`, "memory"},
		{memory(v1alpha1.MemoryStressor{Stressor: one, Size: "0MB"}), Stress{}, `size: "0MB"`, "memory"},
		{memory(v1alpha1.MemoryStressor{Stressor: one, Size: "-1MB"}), Stress{}, `size: "-1MB"`, "memory"},
		{memory(v1alpha1.MemoryStressor{Stressor: one, Size: "101%"}), Stress{}, `size: "101%"`, "memory"},
		{memory(v1alpha1.MemoryStressor{Stressor: one, Size: "9999999TB"}), Stress{}, `size: "9999999TB"`, "memory"},
		{&v1alpha1.StressChaos{}, Stress{}, "spec.stressors: missing", ""},
	} {
		got, err := StressOf(test.chaos)
		if test.wrong == "" && (err != nil || got != test.want) {
			t.Errorf("%+v, %v; want %+v", got, err, test.want)
		}
		if test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)) {
			t.Errorf("error %v, want %q", err, test.wrong)
		}
		if a := stressAction(test.chaos); a != test.action {
			t.Errorf("action %q, want %q", a, test.action)
		}
	}
}
