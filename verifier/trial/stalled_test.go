package trial

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"seatrial/verifier/evidence"
)

func TestTheLongestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, flushes := time.Now(), 0
		r := &run{rec: &evidence.Record{}, Trial: &Trial{Flush: func() error {
			flushes++
			switch flushes {
			case 3:
				time.Sleep(1500 * time.Millisecond)
			case 4: // what fails says nothing of the disk
				time.Sleep(5 * time.Second)
				return errors.New("no such folder")
			default:
				time.Sleep(time.Millisecond)
			}
			return nil
		}}}
		stop := r.watchDisk(t.Context())
		time.Sleep(10 * time.Second)
		stop()
		want := began.Add(2 * (flushEvery + time.Millisecond))
		if got := r.rec.Stalled; got.Seconds != 1.5 || !got.At.Equal(want) {
			t.Errorf("%+v, want 1.5 s from %v", got, want)
		}
	})
}

func TestADiskThatNobodyAsksIsNotNoted(t *testing.T) {
	r := &run{rec: &evidence.Record{}, Trial: &Trial{}}
	if r.watchDisk(t.Context())(); r.rec.Stalled != (evidence.Stalled{}) {
		t.Errorf("%+v", r.rec.Stalled)
	}
}
