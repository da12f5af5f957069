package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// install creates the definitions in dir and waits until all are served.
func (b *Bench) install(ctx context.Context, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("find definitions in %s: %d files, %w", dir, len(files), err)
	}
	var made []*unstructured.Unstructured
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		crd := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(data, &crd.Object); err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		if err := b.Client.Create(ctx, crd); err != nil {
			return fmt.Errorf("create %s: %w", filepath.Base(file), err)
		}
		made = append(made, crd)
	}
	for _, crd := range made {
		if err := b.established(ctx, crd); err != nil {
			return err
		}
	}
	return nil
}

// established waits until a definition is served.
func (b *Bench) established(ctx context.Context, crd *unstructured.Unstructured) error {
	for {
		if err := b.Client.Get(ctx, client.ObjectKeyFromObject(crd), crd); err != nil {
			return fmt.Errorf("read %s: %w", crd.GetName(), err)
		}
		conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
		for _, c := range conditions {
			if m, ok := c.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not served: %w", crd.GetName(), ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
