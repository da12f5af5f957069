//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"seatrial/deploy/local"
	"seatrial/experiments"
	"seatrial/verifier/evidence"
	"seatrial/verifier/gameday"
	"seatrial/verifier/kube"
	"seatrial/verifier/kube/lease"
)

// dry shows what a game day would touch: the scenario, or, of a surprise, each
// that may be drawn.
func (f *gamedayFlags) dry(g *game, where, target string, out io.Writer, touched func(*experiments.Experiment) (gameday.Touched, error)) error {
	fmt.Fprintln(out, "a dry run: nothing is started, injected or changed")
	plans := []evidence.Plan{g.plan}
	if g.surprise {
		plans = g.matches
		fmt.Fprintf(out, "a surprise: one of these %d (--show tells which)\n", len(plans))
	}
	for _, p := range plans {
		t := gameday.Touch{Scenario: p, Rules: g.rules, Where: where, Target: target}
		all, err := g.lasting(p)
		if err != nil {
			return err
		}
		for _, e := range all {
			one, err := touched(e)
			if err != nil {
				return fmt.Errorf("%s: %w", e.Name, err)
			}
			t.Faults = append(t.Faults, one)
		}
		fmt.Fprintln(out)
		if err := t.Write(out); err != nil {
			return err
		}
	}
	return nil
}

// dryLocal finds the pods in the testbed's plan.
func (f *gamedayFlags) dryLocal(g *game, out io.Writer) error {
	cfg, err := f.config(f.name, f.seed)
	if err != nil {
		return err
	}
	pods := local.Pods(cfg)
	where := fmt.Sprintf("local, called %s: brought up for the game, taken down after it; ports %d, %d, %d on 127.0.0.1",
		f.name, f.apiPort, f.prometheusPort, f.alertmanagerPort)
	return f.dry(g, where, "its API", out, func(e *experiments.Experiment) (gameday.Touched, error) {
		candidates, err := e.Candidates(pods)
		if err != nil {
			return gameday.Touched{}, err
		}
		one := gameday.Touched{Experiment: e, Pods: names(candidates)}
		if e.Victims != "" { // the query decides when it begins
			one.Manifest, err = yaml.Marshal(e.Object)
			return one, err
		}
		rounds, err := local.Draw(cfg, e, nil, f.seed)
		if err != nil {
			return one, err
		}
		for _, r := range rounds {
			one.Drawn = append(one.Drawn, strings.Join(r.VictimNames(), " and "))
		}
		one.Manifest, err = yaml.Marshal(rounds[0].Object)
		return one, err
	})
}

func names(pods []experiments.Pod) (all []string) {
	for _, p := range pods {
		all = append(all, p.Name)
	}
	return all
}

// dryCluster asks the cluster, which tries the objects out without keeping them.
func (f *gamedayFlags) dryCluster(ctx context.Context, g *game, out io.Writer) error {
	if err := f.complete(); err != nil {
		return err
	}
	bed, err := kube.Open(ctx, kube.Config{
		Kubeconfig: f.kubeconfig, Context: f.context, Namespace: f.namespace,
		ChaosMeshNamespace: f.chaosMeshNamespace, ChaosMeshVersion: f.chaosMeshVersion, Run: lease.ID("dry-run"),
	})
	if err != nil {
		return err
	}
	s, err := f.wireCluster(ctx, bed, "", g.set)
	if err != nil {
		return err
	}
	where := fmt.Sprintf("kubernetes, cluster %s, namespace %s: it runs already, and stays", bed.Versions()["cluster"], f.namespace)
	return f.dry(g, where, f.loadTarget, out, func(e *experiments.Experiment) (gameday.Touched, error) {
		var answering []string
		if e.Victims != "" {
			vector, err := s.metrics.Vector(ctx, e.Victims, time.Now())
			if err != nil {
				return gameday.Touched{}, fmt.Errorf("ask for victims: %w", err)
			}
			for _, sample := range vector {
				answering = append(answering, sample.Labels["pod"])
			}
		}
		fault, err := bed.Prepare(ctx, e, answering, f.seed)
		if err != nil {
			return gameday.Touched{}, err
		}
		one := gameday.Touched{Experiment: e, Pods: answering, Drawn: fault.Victims(), Manifest: fault.Manifest()}
		if e.Victims == "" {
			one.Pods = fault.Victims()
		}
		return one, nil
	})
}
