// Package prom is the adapter to Prometheus: it answers PromQL for a trial.
//
// It knows neither objectives nor alerts, only queries and samples.
package prom

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"seatrial/verifier/trial"
)

// queryTimeout is the patience with one query; trials ask four times a second.
const queryTimeout = 3 * time.Second

// querier is what is used of Prometheus' experimental API of 23 methods.
type querier interface {
	Query(ctx context.Context, query string, ts time.Time, opts ...promv1.Option) (model.Value, promv1.Warnings, promv1.Infos, error)
	QueryRange(ctx context.Context, query string, r promv1.Range, opts ...promv1.Option) (model.Value, promv1.Warnings, promv1.Infos, error)
}

// Client satisfies trial.Metrics.
type Client struct{ api querier }

// New returns a client of the Prometheus at url, for example
// http://198.18.0.50:9090, reached through transport.
func New(url string, transport http.RoundTripper) (*Client, error) {
	c, err := api.NewClient(api.Config{Address: url, RoundTripper: transport})
	if err != nil {
		return nil, fmt.Errorf("prometheus %s: %w", url, err)
	}
	return &Client{promv1.NewAPI(c)}, nil
}

// Vector evaluates query at a moment. A scalar is a vector of one; an empty
// answer is no error.
func (c *Client) Vector(ctx context.Context, query string, at time.Time) ([]trial.Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	value, _, _, err := c.api.Query(ctx, query, at)
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", query, err)
	}
	switch v := value.(type) {
	case model.Vector:
		samples := make([]trial.Sample, 0, len(v))
		for _, s := range v {
			samples = append(samples, trial.Sample{Labels: labels(s.Metric), Value: float64(s.Value)})
		}
		return samples, nil
	case *model.Scalar:
		return []trial.Sample{{Value: float64(v.Value)}}, nil
	}
	return nil, fmt.Errorf("query %s: the answer is a %s, want a vector", query, value.Type())
}

// Range evaluates query each second of a span; where it has several series
// their values are added.
func (c *Client) Range(ctx context.Context, query string, from, to time.Time) ([][2]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*queryTimeout)
	defer cancel()
	value, _, _, err := c.api.QueryRange(ctx, query, promv1.Range{Start: from, End: to, Step: time.Second})
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", query, err)
	}
	matrix, ok := value.(model.Matrix)
	if !ok {
		return nil, fmt.Errorf("query %s: the answer is a %s, want a matrix", query, value.Type())
	}
	return sum(matrix), nil
}

func sum(matrix model.Matrix) [][2]float64 {
	var points [][2]float64
	index := map[model.Time]int{}
	for _, s := range matrix {
		for _, v := range s.Values {
			i, seen := index[v.Timestamp]
			if !seen {
				i = len(points)
				index[v.Timestamp] = i
				points = append(points, [2]float64{float64(v.Timestamp) / 1000, 0})
			}
			points[i][1] += float64(v.Value)
		}
	}
	return points
}

func labels(m model.Metric) map[string]string {
	all := make(map[string]string, len(m))
	for k, v := range m {
		all[string(k)] = string(v)
	}
	return all
}
