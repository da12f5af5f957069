// Package architecture holds the decisions that shaped the house, and the
// tests that keep it as it was drawn: plan.txt says who may import whom.
package architecture
