package webhook

import (
	"cmp"
	"math"
	"strings"
	"time"
)

// readTime reads time and timestamp, of which time wins. A time too far ahead does not count, and
// timestamp does not replace it.
func (b *eventBuilder) readTime() {
	read := false
	for _, field := range [...]int{fieldTime, fieldTimestamp} {
		if b.sent[field] == "" {
			continue
		}
		at, ok := b.parseTime(b.sent[field])
		if !ok {
			b.addUnreadable(field)
			continue
		}
		if !read && at.After(b.Arrived.Add(MaxAhead)) {
			b.addUnreadable(field)
		} else if !read {
			b.Time = at
		}
		read = true
		b.timed = b.timed || field == fieldTime
	}
}

// parseTime reads Unix seconds or a date and a time of day. Zero is an unset time, and nanoseconds
// overflow past 2262, as milliseconds in place of seconds would.
func (d *Decoder) parseTime(s string) (time.Time, bool) {
	const maxSeconds = math.MaxInt64 / float64(time.Second)
	if seconds, ok := parseNumber(s); ok {
		// A number of this size is exact to the microsecond.
		return time.UnixMicro(int64(math.Round(seconds * 1e6))).UTC(), 0 < seconds && seconds < maxSeconds
	}
	at, ok := d.parseDateTime(s)
	return at.UTC(), ok && at.Unix() > 0 && float64(at.Unix()) < maxSeconds-1
}

// layouts are the accepted spellings of the time zone, or none.
var layouts = [...]string{time.DateTime, time.DateTime + "Z07:00", time.DateTime + "Z0700", time.DateTime + "Z07"}

var clockReplacer = strings.NewReplacer(" ", "", "UTC", "Z", "GMT", "Z")

// parseDateTime reads YYYY-MM-DD HH:MM:SS, also with a T, a fraction, or a time zone.
func (d *Decoder) parseDateTime(s string) (time.Time, bool) {
	const date, maxLength = len(time.DateOnly), 64
	if len(s) <= date || len(s) > maxLength || !strings.ContainsRune(" Tt", rune(s[date])) {
		return time.Time{}, false
	}
	location := cmp.Or(d.Location, time.UTC)
	if at, err := time.ParseInLocation(time.DateTime, s, location); err == nil {
		return at, true
	}
	s = s[:date] + " " + clockReplacer.Replace(strings.ToUpper(s[date+1:]))
	for _, layout := range layouts {
		if at, err := time.ParseInLocation(layout, s, location); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}
