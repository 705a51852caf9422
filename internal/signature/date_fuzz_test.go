package signature

import (
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dateText is what every date that is read looks like, whatever Go's own parser would let pass besides.
var dateText = regexp.MustCompile(`^[A-Za-z]{3,9},? `)

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
