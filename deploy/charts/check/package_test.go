package check

import (
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
)

// TestPackagesHoldWhatLinksLeadTo: what is published renders the same without the repository.
func TestPackagesHoldWhatLinksLeadTo(t *testing.T) {
	for _, name := range charts {
		c, err := loader.LoadDir("../" + name)
		if err != nil {
			t.Fatal(err)
		}
		archive, err := chartutil.Save(c, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		text, err := Render(archive, nil)
		if err != nil {
			t.Fatal(err)
		}
		if line, differs := firstDifference(rendered(t, name, false).Golden(), text.Golden()); differs {
			t.Errorf("%s from its package differs: %s", name, line)
		}
	}
}
