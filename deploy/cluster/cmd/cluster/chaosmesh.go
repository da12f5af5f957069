//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// madeFrom is the label by which Helm knows what a release was made from.
const madeFrom = "seatrial-made-from"

// chaosMesh installs Chaos Mesh from its chart, unless what is there was made from the same: at each upgrade the
// chart makes new certificates and starts its pods anew, and a second `up` is to change nothing.
func chaosMesh(ctx context.Context, p *places, show *steps, chart string) error {
	values := p.repo("deploy/cluster/values/chaos-mesh.yaml")
	mark, err := digest(chart, values)
	if err != nil {
		return fmt.Errorf("read Chaos Mesh's chart: %w", err)
	}
	have, err := p.tool(ctx, "helm", "list", "--namespace=chaos-mesh", "--deployed", "--short", "--selector="+madeFrom+"="+mark)
	if err != nil {
		return err
	}
	if strings.TrimSpace(have) == "chaos-mesh" {
		show.say("Chaos Mesh is what it should be")
		return nil
	}
	return p.do(ctx, show, []step{{"Chaos Mesh", "helm", []string{"upgrade", "--install", "chaos-mesh", chart,
		"--namespace=chaos-mesh", "--create-namespace", "--values=" + values, "--labels=" + madeFrom + "=" + mark}}})
}

// digest is that of all files in some folders, with their names; a file is a folder of one. It
// is short enough for a label.
func digest(paths ...string) (string, error) {
	sum := sha256.New()
	for _, path := range paths {
		err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(path, file)
			fmt.Fprintf(sum, "%q %d\n%s", name, len(data), data)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]), nil
}
