package lease

import (
	"strings"
	"testing"
	"time"

	coordination "k8s.io/api/coordination/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// held is a Lease as holder renewed it at renewed, by a clock of the holder's own.
func held(holder string, renewed time.Time) *coordination.Lease {
	return &coordination.Lease{Spec: coordination.LeaseSpec{
		HolderIdentity: &holder, LeaseDurationSeconds: new(int32(10)), RenewTime: new(meta.NewMicroTime(renewed)), LeaseTransitions: new(int32(1)),
	}}
}

func TestObserverCountsOnItsOwnClock(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	yesterday, tomorrow := now.Add(-24*time.Hour), now.Add(24*time.Hour)
	type look struct {
		after time.Duration
		lease *coordination.Lease
		want  string // holder, "live" or "dead"
	}
	for name, looks := range map[string][]look{
		"nothing is held by nobody": {{0, nil, " dead"}},
		"an empty holder is nobody": {{0, held("", now), " dead"}},
		"a lease seen for the first time is live, however old it says it is": {{0, held("a", yesterday), "a live"}},
		"one that does not change dies after its duration, however new it says it is": {
			{0, held("a", tomorrow), "a live"}, {9 * time.Second, held("a", tomorrow), "a live"},
			{10 * time.Second, held("a", tomorrow), "a dead"}, {60 * time.Second, held("a", tomorrow), "a dead"},
		},
		"each renewal counts anew": {
			{0, held("a", now), "a live"}, {9 * time.Second, held("a", now.Add(1)), "a live"},
			{18 * time.Second, held("a", now.Add(1)), "a live"}, {19 * time.Second, held("a", now.Add(1)), "a dead"},
		},
		"a renewal brings the dead back": {
			{0, held("a", now), "a live"}, {12 * time.Second, held("a", now), "a dead"}, {13 * time.Second, held("a", now.Add(1)), "a live"},
		},
		"another holder is a change": {
			{0, held("a", now), "a live"}, {12 * time.Second, held("b", now), "b live"}, {22 * time.Second, held("b", now), "b dead"},
		},
		"one that was deleted is held by nobody": {{0, held("a", now), "a live"}, {time.Second, nil, " dead"}},
		"the holder's own duration counts": {
			{0, lasting(held("a", now), 30), "a live"}, {29 * time.Second, lasting(held("a", now), 30), "a live"},
			{30 * time.Second, lasting(held("a", now), 30), "a dead"},
		},
		"a change of labels is no renewal": {{0, held("a", now), "a live"}, {10 * time.Second, labelled(held("a", now)), "a dead"}},
	} {
		t.Run(name, func(t *testing.T) {
			var o Observer
			for _, l := range looks {
				v := o.See(l.lease, now.Add(l.after))
				got := v.Holder + map[bool]string{true: " live", false: " dead"}[v.Live]
				if got != l.want {
					t.Errorf("after %s: %q, want %q", l.after, got, l.want)
				}
				if v.HeldBy("a") != (l.want == "a live") {
					t.Errorf("after %s: HeldBy(a) is %v of a lease that is %q", l.after, v.HeldBy("a"), l.want)
				}
			}
		})
	}
}

func lasting(l *coordination.Lease, seconds int32) *coordination.Lease {
	l.Spec.LeaseDurationSeconds = &seconds
	return l
}

func labelled(l *coordination.Lease) *coordination.Lease {
	l.Labels, l.ResourceVersion = map[string]string{"looked": "at"}, "77"
	return l
}

// TestHolderGivesUpBeforeOthersBegin: what the constants are for.
func TestHolderGivesUpBeforeOthersBegin(t *testing.T) {
	if GiveUpAfter >= Duration {
		t.Errorf("a holder gives up after %s, others begin after %s", GiveUpAfter, Duration)
	}
	if GiveUpAfter < 3*RenewEvery {
		t.Errorf("a holder gives up after %s: fewer than three tries, one each %s", GiveUpAfter, RenewEvery)
	}
}

func TestIDIsALabelAndAHolder(t *testing.T) {
	for name, want := range map[string]string{
		"20260101-120000-seed1":           "20260101-120000-seed1",
		"Game Day/Nr.1":                   "game-day-nr.1",
		"-trailing_":                      "trailing",
		strings.Repeat("x", 62) + "_tail": strings.Repeat("x", 62),
		"___":                             "",
	} {
		if got := ID(name); got != want {
			t.Errorf("ID(%q) = %q, want %q", name, got, want)
		}
	}
}
