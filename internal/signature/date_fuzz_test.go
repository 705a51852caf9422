package signature

import (
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dateText is what every date that is read looks like, whatever Go's own parser would let pass besides.
var dateText = regexp.MustCompile(`^[A-Za-z]{3,9},? `)

// parseDateByForm is parseDate without a way around the forms.
func parseDateByForm(s string) (time.Time, bool) {
	for _, form := range dateForms {
		if t, err := time.Parse(form, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// TestEveryByteOfADate puts every other byte in the place of each byte of dates, and has the same ones read as by Go.
func TestEveryByteOfADate(t *testing.T) {
	for _, text := range []string{
		"Sat, 21 Nov 2026 10:15:00 GMT", "Thu, 29 Feb 2024 23:59:59 GMT", "Mon, 29 Feb 2100 00:00:00 GMT", "Tue, 31 Jun 0000 19:09:09 GMT", "Wed, 01 Jan 9999 20:50:50 GMT",
		"Sun, 30 Sep 2026 10:15:00 GMT", "Fri, 31 Oct 2026 10:15:00 GMT", "unM, 21 ovD 2026 10:15:00 GMT", "sat, 21 NOV 2026 10:15:00 GMT",
	} {
		for i := range len(text) {
			for c := range 256 {
				other := text[:i] + string([]byte{byte(c)}) + text[i+1:]
				want, wantOK := parseDateByForm(other)
				at, ok := parseDate(other)
				require.Equal(t, wantOK, ok, other)
				require.Equal(t, want, at, other)
			}
		}
	}
	for day := signedAt.AddDate(-30, 0, 0); day.Before(signedAt.AddDate(30, 0, 0)); day = day.AddDate(0, 0, 1) {
		at, ok := parseFixdate(day.Format(http.TimeFormat))
		require.True(t, ok)
		require.Equal(t, day, at)
	}
}

func FuzzDate(f *testing.F) {
	for _, text := range []string{
		"Sat, 21 Nov 2026 10:15:00 GMT", "Saturday, 21-Nov-26 10:15:00 GMT", "Sat Nov 21 10:15:00 2026", "Sat, 21 Nov 2026 11:15:00 +0100",
		"Sat, 21 Nov 26 11:15:00 +0100", "Sat, 21 Nov 26 10:15:00 GMT", "Sun, 1 Nov 2026 10:15:00 GMT", "Sun Nov  1 10:15:00 2026", "", "1795256100",
		"Sat, 21 Nov 2026 10:15:00.999999999 GMT", "Sat, 21 Nov 2026 10:15:60 GMT",
	} {
		f.Add(text, int64(0))
	}
	f.Fuzz(func(t *testing.T, text string, offset int64) {
		const maxAge = 5 * time.Minute
		at, ok := parseDate(text)
		want, wantOK := parseDateByForm(text)
		require.Equal(t, wantOK, ok, text)
		require.Equal(t, want, at, text)
		if !ok {
			assertRefused(t, ReasonMalformedDate, checkDate(text, signedAt, maxAge))
			return
		}
		assert.Regexp(t, dateText, text)
		// The time means the same when it is written as the standard asks for.
		if year := at.UTC().Year(); at.Nanosecond() == 0 && year >= 0 && year <= 9999 {
			again, ok := parseDate(at.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"))
			require.True(t, ok)
			assert.True(t, at.Equal(again), "%q: %s, and %s when it is written again", text, at, again)
		}
		// At any distance from the present it is let in within the bounds and nowhere else.
		age := time.Duration(offset)
		switch err := checkDate(text, at.Add(age), maxAge); {
		case age > maxAge:
			assertRefused(t, ReasonOld, err)
		case age < -maxAhead:
			assertRefused(t, ReasonFuture, err)
		default:
			require.NoError(t, err)
		}
	})
}
