package objective

// Burn is a pair of windows, and how many times faster than sustainable a budget must be spent in
// both for an alert. The short window ends the alert soon after the cause has ended.
type Burn struct {
	Long, Short string
	Factor      float64
	Severity    string
	For         string // for how long it must be true
	Words       string // the long window, as a summary calls it
}

// Scale is a set of rules: for production, or the same at the speed of trials.
type Scale struct {
	Name     string
	Interval string // of evaluation
	Slowly   string // of evaluation, for windows of hours and days
	Burns    []Burn
	// Times replace ${name} in causes. Trials scrape once a second and last a minute;
	// production may scrape once a minute.
	Times map[string]string
}

// Trial is for a Prometheus that scrapes and evaluates once a second. An hour becomes a minute, and
// five minutes become 15 s, since a shorter window would hold too few samples.
var Trial = Scale{
	Name: "trial", Interval: "1s", Slowly: "1s",
	Burns: []Burn{
		{Long: "60s", Short: "15s", Factor: 14.4, Severity: "page", For: "2s", Words: "the last minute"},
	},
	Times: map[string]string{
		"step": "1s", "recent": "15s", "recent.words": "15 s", "recent.seconds": "15", "look": "10s", "look.words": "10 s", "grow": "5s",
		"election": "6s", "leaderless": "4s", "rollout": "20s", "now": "1s", "soon": "2s", "sure": "3s", "worth": "3",
	},
}

// Production has the three usual pairs: at 14.4 a 30-day budget is gone in two days (a page after 2 % of it),
// at 6 in five days (a page after 5 %), at 1 in thirty (a ticket after 10 %).
var Production = Scale{
	Name: "production", Interval: "30s", Slowly: "2m",
	Burns: []Burn{
		{Long: "1h", Short: "5m", Factor: 14.4, Severity: "page", For: "2m", Words: "the last hour"},
		{Long: "6h", Short: "30m", Factor: 6, Severity: "page", For: "5m", Words: "the last 6 hours"},
		{Long: "3d", Short: "6h", Factor: 1, Severity: "ticket", For: "1h", Words: "the last 3 days"},
	},
	Times: map[string]string{
		"step": "30s", "recent": "5m", "recent.words": "5 min", "recent.seconds": "300", "look": "5m", "look.words": "5 min", "grow": "5m",
		"election": "2m", "leaderless": "1m", "rollout": "10m", "now": "1m", "soon": "2m", "sure": "3m", "worth": "60",
	},
}

// LeastBad is the number of bad events in the short window below which no burn rings: in thin
// traffic a few stray errors are no outage.
const LeastBad = 5
