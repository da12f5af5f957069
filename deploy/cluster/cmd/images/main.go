// Command images writes the images of everything that runs on the cluster, from
// programs that were built before, without a container engine.
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"seatrial/deploy/cluster/image"
)

func main() {
	deps := flag.String("deps", ".deps", "folder `DIR` that make deps and make cluster-deps fill")
	bin := flag.String("bin", "bin", "folder `DIR` with the commands of this project")
	flag.Parse()
	if err := run(*deps, *bin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "images: "+err.Error())
		os.Exit(2)
	}
}

func run(deps, bin string, out io.Writer) error {
	dir := filepath.Join(deps, "cluster", "images")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, a := range archives(deps, bin) {
		started := time.Now()
		file, stamp := filepath.Join(dir, a.name+".tar"), filepath.Join(dir, a.name+".stamp")
		sum, err := fingerprint(a.images)
		if err != nil {
			return fmt.Errorf("%w (make cluster-deps builds it)", err)
		}
		if have, _ := os.ReadFile(stamp); string(have) == sum && exists(file) {
			fmt.Fprintf(out, "images: %s: is there\n", a.name)
			continue
		}
		if err := image.Archive(file, a.images); err != nil {
			return err
		}
		if err := os.WriteFile(stamp, []byte(sum), 0o644); err != nil {
			return err
		}
		fmt.Fprintf(out, "images: %s: %d written in %.1f s\n", a.name, len(a.images), time.Since(started).Seconds())
	}
	return nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// fingerprint changes whenever what the images are made of does: this program,
// their configurations, and the name, size, mode and time of every file.
func fingerprint(all []image.Spec) (string, error) {
	sum := sha256.New()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("read this program: %w", err)
	}
	sum.Write(self)
	for _, spec := range all {
		fmt.Fprintf(sum, "%+v\n", spec)
		for _, f := range slices.Concat(spec.Layers...) {
			if f.From == "" {
				continue
			}
			if err := list(sum, f.From); err != nil {
				return "", fmt.Errorf("image %s: %w", spec.Name, err)
			}
		}
	}
	return fmt.Sprintf("%x\n", sum.Sum(nil)), nil
}

// list writes a line for every file in a tree, or for the one that it is.
func list(w io.Writer, tree string) error {
	tree, err := filepath.EvalSymlinks(tree) // the walk would not follow it
	if err != nil {
		return err
	}
	return filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && !info.IsDir() {
			fmt.Fprintf(w, "%s %d %v %d\n", path, info.Size(), info.Mode(), info.ModTime().UnixNano())
		}
		return err
	})
}
