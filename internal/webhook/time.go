package webhook

import (
	"cmp"
	"math"
	"strings"
	"time"
)

// readTime reads time and timestamp, of which time wins. Where neither can be read, or it lies too far ahead, the event is as
// old as its arrival.
func (r *reading) readTime() {
	read := false
	for _, index := range [...]int{sentTime, sentTimestamp} {
		if r.sent[index] == "" {
			continue
		}
		at, ok := r.parseTime(r.sent[index])
		switch {
		case !ok:
			r.unreadable(index)
			continue
		case read:
		case at.After(r.Arrived.Add(MaxAhead)):
			r.unreadable(index)
		default:
			r.Time = at
		}
		read = true
		r.timed = r.timed || index == sentTime
	}
}

// parseTime reads Unix seconds, or a date and a time of day, each with or without a fraction. Zero is what an unset time looks
// like, and past 2262 nanoseconds overflow (a time in milliseconds does).
func (r *reading) parseTime(s string) (time.Time, bool) {
	const most = math.MaxInt64 / float64(time.Second)
	if seconds, ok := parseNumber(s); ok {
		if seconds <= 0 || seconds >= most {
			return time.Time{}, false
		}
		// A number of this size is exact to the microsecond.
		return time.UnixMicro(int64(math.Round(seconds * 1e6))).UTC(), true
	}
	at, ok := r.parseDateTime(s)
	if !ok || at.Unix() <= 0 || float64(at.Unix()) >= most-1 {
		return time.Time{}, false
	}
	return at.UTC(), true
}

// layouts differ in the time zone, which may be missing.
var layouts = [...]string{time.DateTime, time.DateTime + "Z07:00", time.DateTime + "Z0700", time.DateTime + "Z07"}

// parseDateTime reads YYYY-MM-DD HH:MM:SS, also with a T between the two, a fraction, or a time zone.
func (r *reading) parseDateTime(s string) (time.Time, bool) {
	const most = 64
	date := len(time.DateOnly)
	if len(s) <= date || len(s) > most || s[date] != ' ' && s[date] != 'T' && s[date] != 't' {
		return time.Time{}, false
	}
	location := cmp.Or(r.Location, time.UTC)
	if at, err := time.ParseInLocation(time.DateTime, s, location); err == nil {
		return at, true
	}
	clock := strings.ToUpper(s[date+1:])
	for _, utc := range [...]string{"UTC", "GMT"} {
		if rest, ok := strings.CutSuffix(clock, utc); ok {
			clock = rest + "Z"
		}
	}
	clock = strings.ReplaceAll(clock, " ", "")
	for _, layout := range layouts {
		if at, err := time.ParseInLocation(layout, s[:date]+" "+clock, location); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
