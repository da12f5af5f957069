//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"seatrial/deploy/cluster/node"
)

// ours is the archive with the images of this project's own commands: they change while a cluster runs.
const ours = "system.tar"

// What is written to the control socket, a byte each: that the cluster shall end, and that it shall take our images
// if it has others. The latter is answered.
const (
	askEnd    = 1
	askImages = 2

	imagesSame, imagesNew = "same", "new"
)

// contents tells archives of other images apart, whenever and in whatever order they were written.
func contents(archive string) (string, error) {
	f, err := os.Open(archive)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for all := tar.NewReader(f); ; {
		h, err := all.Next()
		if err != nil {
			return "", fmt.Errorf("%s: find its manifest: %w", archive, err)
		}
		if h.Name != "manifest.json" {
			continue
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, all); err != nil {
			return "", fmt.Errorf("%s: read its manifest: %w", archive, err)
		}
		return fmt.Sprintf("%x", sum.Sum(nil)), nil
	}
}

// stock knows which images of ours a node has.
type stock struct {
	archive string
	inside  int // a process of the node
	have    string
}

func newStock(dir string, inside int) (*stock, error) {
	s := &stock{archive: filepath.Join(dir, ours), inside: inside}
	var err error
	s.have, err = contents(s.archive)
	return s, err
}

// renew brings our images to the node if it has others, and says in a word whether it did.
func (s *stock) renew() string {
	now, err := contents(s.archive)
	if err != nil {
		return err.Error()
	}
	if now == s.have {
		return imagesSame
	}
	// Whoever looks from outside would see another root: containerd's socket is in the node's.
	out, err := exec.Command("nsenter", "--target="+strconv.Itoa(s.inside), "--mount", "--pid", "--",
		"/usr/bin/ctr", "--namespace=k8s.io", "images", "import", node.ImagePath(ours)).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("import %s: %v: %s", s.archive, err, bytes.TrimSpace(out))
	}
	s.have = now
	return imagesNew
}

// renewImages has the running cluster take our images as they are built now. Where they are others, whatever runs
// them is started anew; who installs the charts next waits for it.
func renewImages(ctx context.Context, p *places, show *steps) error {
	c, err := net.Dial("unix", control())
	if err != nil {
		return errors.New("no cluster is running: make cluster-up")
	}
	defer c.Close()
	if _, err := c.Write([]byte{askImages}); err != nil {
		return fmt.Errorf("ask the cluster for its images: %w", err)
	}
	answer, err := io.ReadAll(c)
	switch {
	case err != nil:
		return fmt.Errorf("ask the cluster for its images: %w", err)
	case string(answer) == imagesSame:
		return nil
	case string(answer) != imagesNew:
		return fmt.Errorf("renew the images: %s", answer)
	}
	show.say("the images are others than it had; what runs them is started anew")
	for _, namespace := range []string{"seatrial", "seatrial-verifier"} {
		names, err := p.tool(ctx, "kubectl", "--namespace="+namespace, "get", "deployment,statefulset", "--output=name")
		if err != nil {
			return err
		}
		all := strings.Fields(names)
		if len(all) == 0 {
			continue // it is installed for the first time
		}
		if _, err := p.tool(ctx, "kubectl", append([]string{"--namespace=" + namespace, "rollout", "restart"}, all...)...); err != nil {
			return err
		}
	}
	return nil
}
