package signature

import "time"

// MaxAhead is how far the sender's clock may be ahead of ours.
const MaxAhead = time.Minute

// dateLayouts are the layouts of Date that are read. GMT is written out because Go's MST takes any
// name for a zone.
var dateLayouts = [...]string{
	"Mon, 2 Jan 2006 15:04:05 GMT",   // RFC 9110, section 5.6.7: the sender's sample
	"Monday, 02-Jan-06 15:04:05 GMT", // the same section, rfc850-date
	"Mon Jan _2 15:04:05 2006",       // the same section, asctime-date
	"Mon, 2 Jan 2006 15:04:05 -0700", // RFC 5322, section 3.3: PHP's DATE_RFC2822
	"Mon, 2 Jan 06 15:04:05 -0700",   // RFC 822, section 5.1: PHP's DATE_RFC822
	"Mon, 2 Jan 06 15:04:05 GMT",     // the same section, with the zone's name
}

// checkDate checks that a date is at most maxAge old. A replay within that time passes.
func checkDate(date string, now time.Time, maxAge time.Duration) error {
	for _, layout := range dateLayouts {
		t, err := time.Parse(layout, date)
		if err != nil {
			continue
		}
		switch age := now.Sub(t); {
		case age > maxAge:
			return refuse(ReasonOld)
		case age < -MaxAhead:
			return refuse(ReasonFuture)
		}
		return nil
	}
	return refuse(ReasonMalformedDate)
}
