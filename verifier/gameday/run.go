package gameday

import (
	"context"
	"fmt"
	"sync"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/trial"
)

// Director holds a game: it shows the trial to the Game and does what that
// decides.
type Director struct {
	Trial    *trial.Trial // Watch and End are the director's
	Game     *Game
	Screen   *Screen
	Commands <-chan string // lines of the facilitator; closed when none will come

	mu   sync.Mutex // guards last, which the trial writes
	last trial.Progress

	end    chan struct{} // closed: the fault window is to end
	ended  bool
	cancel context.CancelCauseFunc
}

// Run holds the trial to its end and returns its verdict. Whatever happens
// (an abort, a limit, a panic, ctx that ends) the fault is recovered, the load
// is stopped and the Evidence is closed: that is the trial's own promise.
func (d *Director) Run(parent context.Context) (*evidence.Scenario, error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	d.end, d.cancel = make(chan struct{}), cancel
	d.Trial.End, d.Trial.Watch = d.end, d.watch

	over, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- d.direct(ctx, over) }()
	s, err := d.Trial.Run(ctx)
	close(over)
	if broken := <-done; err == nil {
		err = broken
	}
	d.Game.End()
	d.Screen.Close()
	return s, err
}

func (d *Director) watch(p trial.Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = p
}

// direct takes commands and looks once a second, until the trial is over. If it
// panics the trial is ended, in order.
func (d *Director) direct(ctx context.Context, over <-chan struct{}) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the game's director: panic: %v", p)
			d.cancel(err)
		}
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	commands, interrupted := d.Commands, ctx.Done()
	for {
		select {
		case <-over:
			return nil
		case <-interrupted:
			interrupted = nil
			d.Game.Interrupt(time.Now())
		case line, ok := <-commands:
			if !ok {
				commands = nil
				d.Screen.Say("", "no more commands will come; the limits stay in force")
				continue
			}
			d.act(line, d.Game.Command(time.Now(), line))
		case <-tick.C:
			sight := d.look(ctx)
			if ctx.Err() != nil { // it is why the trial's phase changes
				d.Game.Interrupt(time.Now())
			}
			d.act("", d.Game.See(time.Now(), sight))
		}
		d.Screen.Paint(d.Game.View(time.Now()))
	}
}

// look is what there is to see now. What cannot be asked stays as it was.
func (d *Director) look(ctx context.Context) Sight {
	d.mu.Lock()
	p := d.last
	d.mu.Unlock()
	s := Sight{Phase: p.Phase, Load: p.Load, Backlog: p.Backlog, Alerts: d.Game.last.Alerts}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 900*time.Millisecond)
	defer cancel()
	if active, err := d.Trial.Alerts.Active(ctx); err == nil {
		s.Alerts = active
	}
	s.Events = d.count(ctx, time.Now())
	return s
}

// act says and does what the game answered.
func (d *Director) act(typed string, a Answer) {
	d.Screen.Say(typed, a.Say...)
	switch a.Do {
	case RemoveFault:
		if !d.ended {
			d.ended = true
			close(d.end)
		}
	case Abort:
		d.cancel(fmt.Errorf("%s", a.Why))
	}
}
