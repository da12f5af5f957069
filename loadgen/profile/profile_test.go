package profile

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

const second = Duration(time.Second)

var examples = map[string]Config{
	"steady":           {Kind: Steady, Rate: 200, Duration: 40 * second},
	"odd rate":         {Kind: Steady, Rate: 333.3, Duration: 7 * second},
	"slow":             {Kind: Steady, Rate: 0.1, Duration: 30 * second},
	"ramp up":          {Kind: Ramp, From: 10, To: 500, Duration: 20 * second},
	"ramp from zero":   {Kind: Ramp, To: 100, Duration: 20 * second},
	"ramp to zero":     {Kind: Ramp, From: 100, Duration: 20 * second},
	"ramp and stay":    {Kind: Ramp, From: 10, To: 500, Over: 5 * second, Duration: 20 * second},
	"ramp down, stay":  {Kind: Ramp, From: 100, To: 20, Over: 5 * second, Duration: 20 * second},
	"ramp flat":        {Kind: Ramp, From: 100, To: 100, Duration: 20 * second},
	"spike":            {Kind: Spike, Base: 50, Peak: 1000, At: 5 * second, For: 2 * second, Duration: 20 * second},
	"spike on nothing": {Kind: Spike, Peak: 100, At: 5 * second, For: 2 * second, Duration: 20 * second},
	"spike at once":    {Kind: Spike, Base: 5, Peak: 100, For: 20 * second, Duration: 20 * second},
	"diurnal":          {Kind: Diurnal, Mean: 100, Amplitude: 80, Period: 10 * second, Duration: 35 * second},
	"diurnal to zero":  {Kind: Diurnal, Mean: 100, Amplitude: 100, Period: 10 * second, Duration: 35 * second},
	"half a night":     {Kind: Diurnal, Mean: 100, Amplitude: 50, Period: 100 * second, Duration: 20 * second},
}

func profileOf(t testing.TB, c Config) Profile {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestHitsAndTimes(t *testing.T) {
	for _, tt := range []struct {
		name string
		hits uint64
		n    uint64
		at   time.Duration
	}{
		{"steady", 8000, 1, 5 * time.Millisecond},
		{"steady", 8000, 7999, 39995 * time.Millisecond},
		{"slow", 3, 2, 20 * time.Second},
		{"ramp up", 5100, 0, 0},
		{"ramp from zero", 1000, 250, 10 * time.Second},
		{"ramp to zero", 1000, 750, 10 * time.Second},
		{"ramp and stay", 8775, 1275, 5 * time.Second},
		{"ramp and stay", 8775, 1775, 6 * time.Second},
		{"ramp down, stay", 600, 320, 6 * time.Second},
		{"ramp flat", 2000, 1000, 10 * time.Second},
		{"spike", 18*50 + 2000, 250, 5 * time.Second},
		{"spike", 18*50 + 2000, 1250, 6 * time.Second},
		{"spike", 18*50 + 2000, 2300, 8 * time.Second},
		{"spike on nothing", 200, 0, 5 * time.Second},
		{"spike on nothing", 200, 100, 6 * time.Second},
		{"spike at once", 2000, 100, time.Second},
		{"diurnal", 3500, 1000, 10 * time.Second},
		{"diurnal", 3500, 500, 5 * time.Second},
		{"diurnal to zero", 3500, 2000, 20 * time.Second},
	} {
		p := profileOf(t, examples[tt.name])
		if p.Hits() != tt.hits {
			t.Errorf("%s: %d hits, want %d", tt.name, p.Hits(), tt.hits)
		}
		// Where the rate is zero, rounding of a hit is a long time.
		if off := (p.At(tt.n) - tt.at).Abs(); off > time.Microsecond && tt.name != "diurnal to zero" || off > 20*time.Millisecond {
			t.Errorf("%s: hit %d at %v, want %v", tt.name, tt.n, p.At(tt.n), tt.at)
		}
	}
}

// At is the inverse of the integral of Rate, never decreases and stays within the load.
func TestTimesFollowTheRate(t *testing.T) {
	for name, c := range examples {
		p := profileOf(t, c)
		last := time.Duration(0)
		for n := range p.Hits() {
			at := p.At(n)
			if at < last || at > p.Duration() {
				t.Fatalf("%s: hit %d at %v after %v, the load lasts %v", name, n, at, last, p.Duration())
			}
			if miss := math.Abs(p.curve.hits(at.Seconds()) - float64(n)); miss > 1e-3 {
				t.Fatalf("%s: hit %d is %v hits off", name, n, miss)
			}
			last = at
		}
		if at := p.At(p.Hits()); at <= p.Duration() {
			t.Errorf("%s: a hit past the end is planned at %v", name, at)
		}
		if got := numeric(p); math.Abs(got-float64(p.Hits())) > 2+float64(p.Hits())*1e-3 {
			t.Errorf("%s: the rate integrates to %v, there are %d hits", name, got, p.Hits())
		}
	}
}

// numeric integrates Rate by the midpoint rule and checks it against Peak.
func numeric(p Profile) (sum float64) {
	const steps = 100_000
	for i := range steps {
		rate := p.Rate(time.Duration((float64(i) + 0.5) / steps * float64(p.Duration())))
		if rate < 0 || rate > p.Peak()*(1+1e-9) {
			return math.NaN()
		}
		sum += rate * p.Duration().Seconds() / steps
	}
	return sum
}

func TestSharesAreTheWhole(t *testing.T) {
	for name, c := range examples {
		whole := profileOf(t, c)
		for _, of := range []uint64{1, 2, 3, 7} {
			seen := make([]time.Duration, whole.Hits())
			var sum uint64
			for index := range of {
				share := whole.Shard(index, of)
				sum += share.Hits()
				for n := range share.Hits() {
					seen[share.Number(n)] = share.At(n) + 1
				}
				if got := share.HitsBy(whole.Duration()); got != share.Hits() {
					t.Errorf("%s %d/%d: %d hits by the end, want %d", name, index, of, got, share.Hits())
				}
			}
			if sum != whole.Hits() {
				t.Errorf("%s: %d shares have %d hits, want %d", name, of, sum, whole.Hits())
			}
			for n, at := range seen {
				if at != whole.At(uint64(n))+1 {
					t.Fatalf("%s: %d shares: hit %d at %v, want %v", name, of, n, at-1, whole.At(uint64(n)))
				}
			}
		}
	}
}

func TestMoreReplicasThanHits(t *testing.T) {
	p := profileOf(t, examples["slow"])
	if got := p.Shard(5, 9).Hits(); got != 0 {
		t.Errorf("replica 5 of 9 has %d of 3 hits", got)
	}
}

func TestHitsBy(t *testing.T) {
	p := profileOf(t, examples["steady"])
	for _, tt := range []struct {
		at   time.Duration
		want uint64
	}{{-1, 0}, {0, 1}, {4 * time.Millisecond, 1}, {5 * time.Millisecond, 2}, {time.Second, 201}, {time.Hour, 8000}} {
		if got := p.HitsBy(tt.at); got != tt.want {
			t.Errorf("by %v: %d, want %d", tt.at, got, tt.want)
		}
	}
}

func TestPace(t *testing.T) {
	p := profileOf(t, examples["steady"])
	for _, tt := range []struct {
		elapsed time.Duration
		hits    uint64
		wait    time.Duration
		stop    bool
	}{
		{0, 0, 0, false},
		{0, 1, 5 * time.Millisecond, false},
		{time.Second, 100, 0, false}, // behind: at once
		{time.Second, 202, 10 * time.Millisecond, false},
		{time.Second, 8000, 0, true},
	} {
		wait, stop := p.Pace(tt.elapsed, tt.hits)
		if wait != tt.wait || stop != tt.stop {
			t.Errorf("Pace(%v, %d) = %v, %v; want %v, %v", tt.elapsed, tt.hits, wait, stop, tt.wait, tt.stop)
		}
	}
}

func TestZeroProfileHasNoHits(t *testing.T) {
	var p Profile
	if _, stop := p.Pace(0, 0); !stop || p.HitsBy(time.Hour) != 0 || p.Rate(0) != 0 || p.Peak() != 0 {
		t.Error("the zero profile sends")
	}
}

func TestValidateNamesEveryMistake(t *testing.T) {
	for _, tt := range []struct {
		name string
		give Config
		want []string // fields
	}{
		{"nothing", Config{}, []string{"kind", "duration"}},
		{"unknown kind", Config{Kind: "burst", Duration: second}, []string{"kind"}},
		{"no rate, no time", Config{Kind: Steady}, []string{"duration", "rate"}},
		{"other kind's fields", Config{Kind: Steady, Rate: 1, Duration: second, From: 1, Period: second}, []string{"from", "period"}},
		{"negative", Config{Kind: Ramp, From: -1, To: math.NaN(), Duration: -second}, []string{"duration", "from", "to"}},
		{"ramp too long", Config{Kind: Ramp, To: 1, Over: 2 * second, Duration: second}, []string{"over"}},
		{"no ramp", Config{Kind: Ramp, Duration: second}, []string{"to"}},
		{"spike", Config{Kind: Spike, Base: 5, Peak: 5, At: second, Duration: second}, []string{"peak", "for"}},
		{"spike past the end", Config{Kind: Spike, Peak: 5, At: second, For: second, Duration: second}, []string{"for"}},
		{"diurnal", Config{Kind: Diurnal, Amplitude: 2, Duration: second}, []string{"mean", "amplitude", "period"}},
		{"too fast", Config{Kind: Steady, Rate: 2e6, Duration: second}, []string{"rate"}},
		{"not one hit", Config{Kind: Ramp, To: 1e-9, Duration: second}, []string{"duration"}},
	} {
		err := tt.give.Validate()
		mistakes, _ := err.(Mistakes)
		var got []string
		for _, m := range mistakes {
			got = append(got, m.Field)
		}
		if strings.Join(got, " ") != strings.Join(tt.want, " ") {
			t.Errorf("%s: mistakes in %v, want %v (%v)", tt.name, got, tt.want, err)
		}
		if _, err := New(tt.give); err == nil {
			t.Errorf("%s: New accepts it", tt.name)
		}
	}
	for name, c := range examples {
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestJSON(t *testing.T) {
	for name, c := range examples {
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var back Config
		if err := json.Unmarshal(text, &back); err != nil || back != c {
			t.Errorf("%s: %s became %+v, %v", name, text, back, err)
		}
	}
	var c Config
	if err := json.Unmarshal([]byte(`{"kind":"steady","rate":200,"duration":"40s"}`), &c); err != nil || c != examples["steady"] {
		t.Errorf("%+v, %v", c, err)
	}
	if err := json.Unmarshal([]byte(`{"duration":"soon"}`), &c); err == nil || !strings.Contains(err.Error(), `"soon" is not a duration`) {
		t.Errorf("a bad duration: %v", err)
	}
}

func BenchmarkAtDiurnal(b *testing.B) {
	p := profileOf(b, examples["diurnal"])
	n := uint64(0)
	for b.Loop() {
		p.At(n % p.Hits())
		n++
	}
}
