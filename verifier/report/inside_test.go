package report

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"seatrial/loadgen/history"
	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

func TestSpreadIsWithinThreePercent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var s spread
	var all []float64
	for range 20_000 {
		d := time.Duration(math.Exp(rng.Float64()*16) * 1000) // 1 µs to 9 s
		s.add(d)
		all = append(all, d.Seconds())
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.25, 0.5, 0.9, 0.99, 1} {
		got, want := s.quantile(q), all[int(math.Ceil(q*float64(len(all))))-1]
		if math.Abs(got-want) > 0.03*want+1e-6 {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
}

func TestSpreadAtItsEnds(t *testing.T) {
	var s spread
	if s.quantile(0.5) != 0 {
		t.Error("a median of nothing")
	}
	s.add(-time.Second)
	if got := s.quantile(0.5); got > 1e-6 {
		t.Errorf("a negative latency counts as %v", got)
	}
	s.add(math.MaxInt64)
	if got := s.quantile(1); got < 200 || got > 300 {
		t.Errorf("an absurd latency counts as %v", got)
	}
	for i := 1; i < spreadLen; i++ {
		if spreadBin(int64(spreadMiddle(i))) != i || spreadMiddle(i) <= spreadMiddle(i-1) {
			t.Fatalf("step %d is not where its middle is", i)
		}
	}
}

// written writes a History and returns its path; complete says whether it is closed.
func written(t *testing.T, complete bool, ops ...history.Op) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "history.seatrial")
	w, err := history.Create(path, history.Header{Start: time.Unix(1000, 0), Prefix: "t"})
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range ops {
		if err := w.Append(&op); err != nil {
			t.Fatal(err)
		}
	}
	end := w.Close
	if !complete {
		end = w.Abandon
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTimelineCountsByTheTimeRequestsWereDue(t *testing.T) {
	path := written(t, true,
		history.Op{Task: 1, Planned: 100 * time.Millisecond, Sent: 2 * time.Second, End: 3100 * time.Millisecond, Outcome: history.Accepted},
		history.Op{Task: 2, Planned: 900 * time.Millisecond, Sent: time.Second, End: time.Second, Outcome: history.Refused},
		history.Op{Task: 3, Planned: 2500 * time.Millisecond, Sent: 2500 * time.Millisecond, End: 4 * time.Second, Outcome: history.Unknown},
		history.Op{Task: 4, Planned: -time.Second, End: time.Second, Outcome: history.Unknown})
	tl, err := readTimeline(path, []evidence.Window{{Name: "baseline", Start: time.Unix(1000, 0), End: time.Unix(1001, 0)}})
	if err != nil || tl.cut != nil {
		t.Fatal(err, tl.cut)
	}
	want := [][4]uint32{{0, 1, 1, 1}, {}, {0, 0, 0, 1}}
	if len(tl.buckets) != len(want) {
		t.Fatalf("%d buckets", len(tl.buckets))
	}
	for i := range want {
		if tl.buckets[i].outcome != want[i] {
			t.Errorf("second %d: %v, want %v", i, tl.buckets[i].outcome, want[i])
		}
	}
	if got := tl.buckets[0].latency.quantile(0.5); math.Abs(got-3) > 0.1 {
		t.Errorf("latency %v, want 3 s from the planned send time", got)
	}
	if tl.windows[0].outcome != [4]uint32{0, 1, 1, 0} {
		t.Errorf("window %v", tl.windows[0].outcome)
	}
	if strings.Join(tl.unknown, " ") != "t-3 t-4" {
		t.Errorf("unknown %v", tl.unknown)
	}
}

func TestTimelineOfADayFitsTheChart(t *testing.T) {
	var ops []history.Op
	for i := range 86_400 {
		ops = append(ops, history.Op{Task: uint64(i), Planned: time.Duration(i) * time.Second, End: time.Duration(i)*time.Second + time.Millisecond, Outcome: history.Accepted})
	}
	tl, err := readTimeline(written(t, true, ops...), nil)
	if err != nil {
		t.Fatal(err)
	}
	if tl.width != 256*time.Second || len(tl.buckets) > maxBuckets || len(tl.buckets) < maxBuckets/2 {
		t.Errorf("%d buckets of %v", len(tl.buckets), tl.width)
	}
	total, latencies := uint32(0), uint64(0)
	for i := range tl.buckets {
		total += tl.buckets[i].total()
		latencies += tl.buckets[i].latency.total
	}
	if total != 86_400 || latencies != 86_400 {
		t.Errorf("%d requests and %d latencies are left of 86,400", total, latencies)
	}
	if n := tl.buckets[1].total(); n != 256 {
		t.Errorf("%d requests in 256 s", n)
	}
}

func TestTimelineOfACutHistory(t *testing.T) {
	tl, err := readTimeline(written(t, false, history.Op{Task: 1, Outcome: history.Accepted}), nil)
	if err != nil || tl.cut == nil || len(tl.buckets) != 1 {
		t.Errorf("%v, %+v", err, tl)
	}
}

func TestDoubts(t *testing.T) {
	var d doubts
	see := func(task uint64, o history.Outcome) { d.see(&history.Op{Task: task, Outcome: o}) }
	see(1, history.Accepted)
	see(1000, history.Unknown)
	see(1, history.Unknown) // accepted long before
	see(2, history.Unknown)
	see(1000, history.Accepted) // accepted in the end
	see(3, history.Refused)
	see(1<<63, history.Unknown)
	see(2, history.Unknown)
	if got := d.first(20); !slices.Equal(got, []uint64{2, 1 << 63}) {
		t.Errorf("got %v", got)
	}
	for i := range uint64(5000) {
		see(i*1000+7, history.Unknown)
	}
	if got := d.first(3); !slices.Equal(got, []uint64{2, 7, 1007}) {
		t.Errorf("got %v", got)
	}
}

func TestAxesHaveRoundTicksWithinThePlane(t *testing.T) {
	for _, top := range []float64{0, 0.3, 1, 6.2, 249, 250, 99_999, 1e9} {
		a := linear(top, rate)
		if a.top < top || len(a.ticks) < 1 || len(a.ticks) > 5 {
			t.Errorf("top %v: axis to %v with %d ticks", top, a.top, len(a.ticks))
		}
		if got := a.ticks[len(a.ticks)-1].Pct; math.Abs(got) > 1e-6 {
			t.Errorf("top %v: the last tick is at %v %%", top, got)
		}
		if a.y(0) != planeY || a.y(a.top*9) != 0 {
			t.Errorf("top %v: values leave the plane", top)
		}
	}
	d := decades(0.0004, 2.5)
	var words []string
	for _, tk := range d.ticks {
		words = append(words, tk.Label)
	}
	if got := strings.Join(words, ", "); got != "1 ms, 10 ms, 100 ms, 1 s, 10 s" {
		t.Errorf("ticks %s", got)
	}
	if y := d.y(0.01); math.Abs(y-60) > 1e-6 {
		t.Errorf("10 ms stands at %v", y)
	}
}

func TestStepsLeaveGaps(t *testing.T) {
	x := func(i int) float64 { return float64(i * 10) }
	y := func(v float64) float64 { return 100 - v }
	if got := steps([]float64{1, 2, -1, -1, 3}, x, y); got != "M0 99H10V98H20M40 97H50" {
		t.Errorf("got %s", got)
	}
	if got := area([]float64{0, 0}, []float64{5, 6.25}, x, y); got != "M0 95V95H10V93.8H20V100H10V100H0Z" {
		t.Errorf("got %s", got)
	}
	if got := polyline([][2]float64{{0, 1}, {2, 3}}, func(v float64) float64 { return v }, y, true); got != "M0 99L2 97V100H0Z" {
		t.Errorf("got %s", got)
	}
}

func TestFlagsDoNotCoverEachOther(t *testing.T) {
	start := time.Unix(1000, 0)
	s := &evidence.Scenario{Started: start, Windows: []evidence.Window{{Name: "fault", Start: start, End: start.Add(100 * time.Second)}}}
	for _, sec := range []int{0, 1, 2, 3, 50, 51, 100} {
		s.Markers = append(s.Markers, evidence.Marker{Name: "m", At: start.Add(time.Duration(sec) * time.Second)})
	}
	f := draw(s, nil, nil, "none")
	if len(f.Marks) != 7 || f.Lanes != 4 {
		t.Fatalf("%d marks in %d lanes", len(f.Marks), f.Lanes)
	}
	for i, a := range f.Marks {
		for _, b := range f.Marks[i+1:] {
			if a.Lane == b.Lane && math.Abs(a.Pct-b.Pct) < flagRoom {
				t.Errorf("flags %d and %d cover each other", a.N, b.N)
			}
		}
	}
}

func TestMomentsAreNotSaidTwice(t *testing.T) {
	at := time.Unix(1000, 0)
	late := at.Add(time.Minute)
	s := &evidence.Scenario{
		Markers: []evidence.Marker{{Name: "in force: kill", At: at}, {Name: "alert Down", At: at}, {Name: "alert Other", At: late}},
		Proofs:  []evidence.Proof{{Experiment: "kill", InForceAt: &at}, {Experiment: "stress", InForceAt: &late}},
		Alerts:  []evidence.Alert{{Name: "Down", FiredAt: &at, ResolvedAt: &late}, {Name: "Other"}},
	}
	var names []string
	for _, m := range moments(s) {
		names = append(names, m.Name)
	}
	want := "in force: kill; alert Down; alert Other; in force: stress; resolved Down"
	if got := strings.Join(names, "; "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestWords(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{num(0), "0"}, {num(999), "999"}, {num(1000), "1,000"}, {num(-1234567), "-1,234,567"},
		{rate(250), "250"}, {rate(249.96), "250.0"}, {rate(12345.6), "12,346"},
		{secs(-1), "not seen"}, {secs(0.412), "0.41 s"}, {secs(12.34), "12.3 s"}, {secs(312), "5 min 12 s"},
		{long(59.6), "1 min 00 s"}, {long(7265), "2 h 01 min"},
		{latency(0), "–"}, {latency(0.00042), "420 µs"}, {latency(0.0023), "2.30 ms"}, {latency(2.5), "2.50 s"},
		{ratio(1), "100 %"}, {ratio(0.999999), "99.999 %"}, {ratio(0.999), "99.9 %"}, {ratio(-1), "no data"}, {ratio(math.NaN()), "no data"},
		{share(0), "0 %"}, {share(0.000001), "< 0.001 %"}, {share(0.0058), "0.58 %"}, {share(0.25), "25 %"},
		{size(12), "12 B"}, {size(2048), "2.00 KiB"}, {size(5 << 20), "5.00 MiB"},
		{offset(-3), "−3 s"}, {offset(125), "2:05"}, {offset(3725), "1:02:05"},
		{momentWord(30.44), "+30.4 s"}, {momentWord(-2), "−2.0 s"}, {momentWord(700), "+11:40"},
		{plural(1, "task"), "1 task"}, {plural(2000, "task"), "2,000 tasks"},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
}

func TestOnlySafeLinksAreFollowed(t *testing.T) {
	for raw, want := range map[string]string{
		"https://example.org/a": "https://example.org/a", "HTTP://x": "HTTP://x", "runbooks/A.md": "runbooks/A.md",
		"javascript:alert(1)": "", "data:text/html,x": "", "": "", "%zz": "",
	} {
		if got := safeLink(raw); got != want {
			t.Errorf("%q gives %q, want %q", raw, got, want)
		}
	}
}

func TestEvidenceIsReadOnlyWithinTheRun(t *testing.T) {
	run := t.TempDir()
	for named, ok := range map[string]bool{
		"evidence/a": true, filepath.Join(run, "evidence", "a"): true,
		"../a": false, "/etc": false, "": false, "evidence/../../a": false,
	} {
		if got, is := inside(run, named); is != ok || ok && got != filepath.Join(run, "evidence", "a") {
			t.Errorf("%q: %q, %v", named, got, is)
		}
	}
}

func TestRunbookLinkPrefersTheCopyInTheRun(t *testing.T) {
	dir := t.TempDir()
	s := &evidence.Scenario{Runbook: "NATSDown", Alerts: []evidence.Alert{{RunbookURL: "https://example.org/NATSDown"}}}
	if got := runbookLink(dir, s); got != "https://example.org/NATSDown" {
		t.Errorf("got %q", got)
	}
	mkfile(t, filepath.Join(dir, "runbooks", "NATSDown.md"))
	if got := runbookLink(dir, s); got != "runbooks/NATSDown.md" {
		t.Errorf("got %q", got)
	}
}

func TestLedgerShowsPhantomsAndDeadLettersWhenThereAreAny(t *testing.T) {
	all := ledger(&evidence.Scenario{Dead: 2, Phantoms: 3})
	if n := len(all); all[n-2].Value != "2" || all[n-1].Value != "3" || !all[n-1].Bad {
		t.Errorf("got %+v", all)
	}
}

func TestALedgerThatNobodyJudgedIsSaid(t *testing.T) {
	s := &evidence.Scenario{Guarantees: []evidence.Guarantee{{Status: verdict.Inconclusive}}}
	if notJudged(s) != "not judged" {
		t.Error("a 0 that nobody judged looks like good news")
	}
	s.Guarantees = append(s.Guarantees, evidence.Guarantee{Status: verdict.Pass})
	if notJudged(s) != "" {
		t.Error("a judged ledger is doubted")
	}
}

// mkfile makes an empty file and its folders.
func mkfile(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}
