// Package proof shows on a cluster what no rendering of a chart can: that policies
// are enforced, by connections; that pods are refused; that autoscalers scale;
// that budgets protect; that rollouts hurt nobody. Each proof is a Go test that
// changes the cluster, looks, and puts everything back.
//
// It needs the system installed from deploy/charts and the variable
// SEATRIAL_KUBECONFIG. A proof that lacks what it needs skips and says so; with
// SEATRIAL_MUST set, as CI does, it fails: what is skipped is not proven. What was seen
// goes to SEATRIAL_PROOFS, by default reports/cluster.
//
// It must not know how the cluster came to be: it asks the API server and nobody else.
package proof
