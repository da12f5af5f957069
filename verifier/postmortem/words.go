package postmortem

import (
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// escapes keep text that others wrote from being taken for Markdown or HTML.
var escapes = strings.NewReplacer(
	"\\", "\\\\", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "<", "&lt;", ">", "&gt;",
	"|", "\\|", "\r", "", "\n", " ",
)

func plain(s string) string { return escapes.Replace(s) }

// target is a link's address: blanks and brackets would end it.
func target(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return url.PathEscape(address)
	}
	return strings.NewReplacer("(", "%28", ")", "%29", "|", "%7C").Replace(u.String())
}

func stamp(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05") }

// percent writes a share in percent with three digits; only what is whole is
// called 100 %.
func percent(share float64) string {
	switch p := share * 100; {
	case p > 0 && p < 0.001:
		return "< 0.001 %"
	case p > 99 && p < 100:
		return strconv.FormatFloat(math.Floor(p*1000)/1000, 'f', -1, 64) + " %"
	case p >= 100:
		return strconv.FormatFloat(p, 'f', 0, 64) + " %"
	default:
		return strconv.FormatFloat(p, 'g', 3, 64) + " %"
	}
}

func of(part, all int) string {
	if all == 0 {
		return ""
	}
	return fmt.Sprintf(" (%s)", percent(float64(part)/float64(all)))
}
