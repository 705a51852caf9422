package signature

import "time"

// MaxAhead is how far the sender's clock may be ahead.
const MaxAhead = time.Minute

// dateForms are the forms of Date that are read; a day may have one digit. GMT is part of a form
// and not a zone: Go takes any name for a zone, and one that it does not know for GMT.
var dateForms = [...]string{
	"Mon, 2 Jan 2006 15:04:05 GMT",   // RFC 9110, section 5.6.7, IMF-fixdate: what the sender's sample has
	"Monday, 02-Jan-06 15:04:05 GMT", // the same section, rfc850-date
	"Mon Jan _2 15:04:05 2006",       // the same section, asctime-date
	"Mon, 2 Jan 2006 15:04:05 -0700", // RFC 5322, section 3.3, which is PHP's DATE_RFC2822
	"Mon, 2 Jan 06 15:04:05 -0700",   // RFC 822, section 5.1, PHP's DATE_RFC822: the reference signer's example
	"Mon, 2 Jan 06 15:04:05 GMT",     // the same section, with the zone's name
}

func parseDate(s string) (time.Time, bool) {
	for _, form := range dateForms {
		if t, err := time.Parse(form, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// checkDate checks that a call was made lately. A repeat within that time is not told from the
// first.
func checkDate(date string, now time.Time, maxAge time.Duration) error {
	t, ok := parseDate(date)
	if !ok {
		return refuse(ReasonMalformedDate)
	}
	switch age := now.Sub(t); {
	case age > maxAge:
		return refuse(ReasonOld)
	case age < -MaxAhead:
		return refuse(ReasonFuture)
	}
	return nil
}
