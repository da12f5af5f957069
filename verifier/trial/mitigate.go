package trial

import (
	"context"
	"fmt"
	"strings"
	"time"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// mitigate carries out a runbook's mitigation while the fault goes on, and waits for the
// service to be restored. Only an interrupt ends the trial: all else is for the judge.
func (r *run) mitigate(ctx context.Context) error {
	plan := r.Plan.Mitigation
	seen := &evidence.SeenMitigation{Before: words(r.restored(ctx)), Began: time.Now()}
	r.rec.Mitigation = seen
	r.rec.Mark(seen.Began, "mitigation of %s begins", plan.Runbook)
	end := seen.Began.Add(time.Duration(plan.Within))
	for _, c := range plan.Commands {
		r.show("mitigate", end)
		done := r.carryOut(ctx, c, end)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("in the mitigate phase: %w", err)
		}
		if seen.Commands = append(seen.Commands, done); done.Error != "" {
			return nil
		}
	}
	err := until(ctx, time.Until(end), func() error { r.tick(ctx, "mitigate", time.Until(end)); return r.restored(ctx) })
	if ctx.Err() != nil {
		return fmt.Errorf("in the mitigate phase: %w", ctx.Err())
	}
	if seen.After = words(err); err == nil {
		seen.RestoredAt = time.Now()
		r.rec.Mark(seen.RestoredAt, "restored by the mitigation of %s", plan.Runbook)
	}
	return nil
}

// maxOutput is how much of what a block of commands printed is kept, its end.
const maxOutput = 4 << 10

func (r *run) carryOut(ctx context.Context, c evidence.CommandPlan, end time.Time) evidence.SeenCommand {
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	began := time.Now()
	output, err := r.Operator.Do(ctx, c.Command)
	return evidence.SeenCommand{
		CommandPlan: c, Seconds: time.Since(began).Seconds(), Output: output[max(0, len(output)-maxOutput):], Error: words(err),
	}
}

// restored returns nil when the fault does no more harm: the runbook's diagnosis is false,
// clients have been served as promised for three seconds, and what they handed in does not
// wait longer than a second for a worker.
func (r *run) restored(ctx context.Context) error {
	if err := r.undiagnosed(ctx, r.Plan.Mitigation.Runbook); err != nil {
		return err
	}
	if err := r.served(ctx); err != nil {
		return err
	}
	n, err := r.System.Backlog(ctx)
	if err != nil {
		return fmt.Errorf("ask for the backlog: %w", err)
	}
	if limit := max(r.Plan.Load.Rate, r.Plan.Load.Peak); float64(n) > limit {
		return fmt.Errorf("%d accepted tasks wait, more than a second's worth", n)
	}
	return nil
}

// undiagnosed returns an error while a runbook's diagnosis is true, or cannot be asked.
func (r *run) undiagnosed(ctx context.Context, name string) error {
	for _, b := range r.Plan.Runbooks {
		if b.Name != name {
			continue
		}
		now := time.Now()
		for _, s := range b.Steps {
			vector, err := r.Metrics.Vector(ctx, s.Holds, now)
			if err != nil {
				return fmt.Errorf("diagnosis of %s: %w", name, err)
			}
			if (len(vector) > 0) == s.Empty {
				return nil
			}
		}
		return fmt.Errorf("the diagnosis of %s is true", name)
	}
	return fmt.Errorf("the plan has no runbook %s", name)
}

func words(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// judgeMitigation judges what became of a mitigation; nil where none was asked for. Nothing
// was done for the whole fault window before, and that is the measure: the service must not
// have been restored by itself, and the mitigation must restore it within its time, which
// is no longer than that window.
func judgeMitigation(plan *evidence.MitigationPlan, rec *evidence.Record) *evidence.Mitigation {
	if plan == nil {
		return nil
	}
	m := &evidence.Mitigation{Runbook: plan.Runbook, Within: plan.Within, Waited: -1, Restored: -1, Status: verdict.Inconclusive}
	seen := rec.Mitigation
	if seen == nil {
		m.Reason = fmt.Sprintf("the mitigation of %s was not reached", plan.Runbook)
		return m
	}
	m.Commands = seen.Commands
	m.Waited = between(inForceAt(rec), seen.Began)
	m.Restored = between(seen.Began, seen.RestoredAt)
	broke := failed(seen)
	switch {
	case seen.Before == "":
		m.Reason = fmt.Sprintf("nothing was left for the mitigation of %s to restore after %.0f s in which nothing was done", plan.Runbook, m.Waited)
	case broke != nil:
		m.Status, m.Reason = verdict.Fail, fmt.Sprintf("the mitigation in runbooks/%s.md:%d failed: %s: %s", plan.Runbook, broke.Line, broke.Error, lastLine(broke.Output))
	case len(seen.Commands) < len(plan.Commands):
		m.Reason = fmt.Sprintf("the mitigation of %s was interrupted", plan.Runbook)
	case m.Restored < 0:
		m.Status, m.Reason = verdict.Fail, fmt.Sprintf("the mitigation of %s did not restore the service within %v: %s", plan.Runbook, plan.Within, seen.After)
	default:
		m.Status = verdict.Pass
	}
	return m
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

func failed(seen *evidence.SeenMitigation) *evidence.SeenCommand {
	for i := range seen.Commands {
		if seen.Commands[i].Error != "" {
			return &seen.Commands[i]
		}
	}
	return nil
}
