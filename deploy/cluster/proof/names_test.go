package proof

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// lookups asks for a pod's name for 20 s and prints how often it did, and how often the answer
// took nearly a second or more: the chart's dnsConfig has a lost question asked again after one.
const lookups = `
end=$(($(date +%s) + 20)) n=0 slow=0
while [ "$(date +%s)" -lt $end ]; do
	began=$(date +%s%N)
	getent hosts valkey-1.valkey >/dev/null
	[ $((($(date +%s%N) - began) / 1000000)) -lt 900 ] || slow=$((slow + 1))
	n=$((n + 1))
	sleep 0.02
done
echo $n $slow`

// names is how many lookups a pod made, and how many of them were slow.
type names struct {
	Pod   string `json:"pod"`
	Asked int    `json:"asked"`
	Slow  int    `json:"slow"`
}

// TestNamesWhilePodsGo looks a name up without a pause in two pods while a third one is killed twice:
// no packet may be lost when the node's rules follow the pods. One slow answer is left to a node that
// stood still; packets that are lost make several.
func TestNamesWhilePodsGo(t *testing.T) {
	c := connect(t)
	seen := []names{{Pod: "valkey-0"}, {Pod: "valkey-1"}}
	all, ctx := errgroup.WithContext(t.Context())
	for i := range seen {
		all.Go(func() error {
			said, err := c.exec(ctx, namespace, seen[i].Pod, "sentinel", lookups)
			if err != nil {
				return err
			}
			_, err = fmt.Sscan(said, &seen[i].Asked, &seen[i].Slow)
			return err
		})
	}
	for range 2 {
		time.Sleep(2 * time.Second)
		victim := c.pod(t, "valkey-2")
		if err := c.api.CoreV1().Pods(namespace).Delete(t.Context(), victim.Name, meta.DeleteOptions{GracePeriodSeconds: ptr(int64(0))}); err != nil {
			t.Fatal(err)
		}
		c.awaitAnother(t, victim)
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	c.awaitWhole(t)
	asked, slow, text := 0, 0, "# Names while pods go\n\n| asked in | lookups | slower than 0.9 s |\n|---|---|---|\n"
	for _, n := range seen {
		asked, slow = asked+n.Asked, slow+n.Slow
		text += fmt.Sprintf("| %s | %d | %d |\n", n.Pod, n.Asked, n.Slow)
	}
	if asked < 100 || slow > 1 {
		t.Errorf("%d of %d lookups were slow, want 1 of 100 or more at most", slow, asked)
	}
	c.keep(t, "names", seen, text)
}
