package signature

import (
	"strings"
	"time"
)

// maxAhead is how far the sender's clock may be ahead.
const maxAhead = time.Minute

// dateForms are the forms of Date that are read; a day may have one digit. GMT is part of a form and not a zone to look up: Go takes
// any name for a zone, and one that it does not know for GMT.
var dateForms = [...]string{
	"Mon, 2 Jan 2006 15:04:05 GMT",   // RFC 9110, section 5.6.7, IMF-fixdate: what the sender's sample has
	"Monday, 02-Jan-06 15:04:05 GMT", // the same section, rfc850-date
	"Mon Jan _2 15:04:05 2006",       // the same section, asctime-date
	"Mon, 2 Jan 2006 15:04:05 -0700", // RFC 5322, section 3.3, which is PHP's DATE_RFC2822
	"Mon, 2 Jan 06 15:04:05 -0700",   // RFC 822, section 5.1, which is PHP's DATE_RFC822 and in the reference signer's example
	"Mon, 2 Jan 06 15:04:05 GMT",     // the same section, with the zone's name
}

func parseDate(s string) (time.Time, bool) {
	if t, ok := parseFixdate(s); ok {
		return t, true
	}
	for _, form := range dateForms {
		if t, err := time.Parse(form, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// parseFixdate reads the first of the forms as it is nearly always written, with names in their own case and two digits for the day.
func parseFixdate(s string) (time.Time, bool) {
	if len(s) != len("Mon, 02 Jan 2006 15:04:05 GMT") || s[3:5] != ", " || s[7] != ' ' || s[11] != ' ' || s[16] != ' ' || s[19] != ':' ||
		s[22] != ':' || s[25:] != " GMT" {
		return time.Time{}, false
	}
	// No name begins where two others meet, because each has one capital.
	weekday := strings.Index("SunMonTueWedThuFriSat", s[:3])
	month := strings.Index("JanFebMarAprMayJunJulAugSepOctNovDec", s[8:11])
	day, century, year := twoDigits(s[5:]), twoDigits(s[12:]), twoDigits(s[14:])
	hour, minute, second := twoDigits(s[17:]), twoDigits(s[20:]), twoDigits(s[23:])
	if weekday < 0 || weekday%3 != 0 || month < 0 || month%3 != 0 || day|century|year|hour|minute|second < 0 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	t := time.Date(100*century+year, time.Month(1+month/3), day, hour, minute, second, 0, time.UTC)
	// A day that the month does not have is one of another month.
	return t, t.Day() == day
}

// twoDigits returns the number that s begins with, or a negative one.
func twoDigits(s string) int {
	tens, ones := s[0]-'0', s[1]-'0'
	if tens > 9 || ones > 9 {
		return -1
	}
	return 10*int(tens) + int(ones)
}

// checkDate checks that a call was made lately. A repeat within that time is not told from the first.
func checkDate(date string, now time.Time, maxAge time.Duration) error {
	t, ok := parseDate(date)
	if !ok {
		return refuse(ReasonMalformedDate)
	}
	switch age := now.Sub(t); {
	case age > maxAge:
		return refuse(ReasonOld)
	case age < -maxAhead:
		return refuse(ReasonFuture)
	}
	return nil
}
