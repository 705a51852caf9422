package webhook

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestIdentityOfArraysIsPinned is TestIdentityIsPinned for reports in which an array stands where one value should be. A report that is sent
// again after an upgrade has to be known again.
func TestIdentityOfArraysIsPinned(t *testing.T) {
	for body, want := range map[string]string{
		"id=1&code[]=550":                               "0388d3f27fbbcbdf489aef4aba49cda5",
		"id=1&code[]=550&code[]=551":                    "ed32648ebc596b7a7ebb11b02e99cd1b",
		"id=1&code[a]=550":                              "1f75cc1d35a46cc668ffac3afe0f6cac",
		"id=1&code[a]=550&code[b]=551":                  "5dade58cabba6d6ef645d8e5e10eb512",
		"id=1&code[a][]=550&code[a][]=551&code[b]=552":  "aa10030461fbad9d4a872ac99d4ea23e",
		"id=1&recipient=a%40b.example&recipient[x]=c":   "fec5bc2ac25121d04d8669a227f99742",
		"id=1&recipient[x]=c&recipient=a%40b.example":   "fec5bc2ac25121d04d8669a227f99742",
		"id=1&description[]=&description[]=x&time[y]=2": "c0a6793989de5af1687a5addfc1702c2",
	} {
		var d Decoder
		r, err := d.Form(Call{Arrived: arrived, Body: body})
		require.NoError(t, err, body)
		assert.Equal(t, want, r.Identity.String(), body)
	}
}

func TestTimesAtTheirBounds(t *testing.T) {
	for body, readable := range map[string]bool{
		"time=0": false, "time=0.000001": true, "time=1": true, "time=9223372035": true, "time=9223372037": false,
		"timestamp=1970-01-01 00:00:00": false, "timestamp=1970-01-01 00:00:01": true,
		"timestamp=2262-04-11 23:47:15": true, "timestamp=2262-04-11 23:47:17": false,
	} {
		var d Decoder
		r, err := d.Form(Call{Arrived: time.Unix(0, math.MaxInt64), Body: "id=1&" + body})
		require.NoError(t, err, body)
		assert.Equal(t, readable, !r.Time.Equal(r.Arrived), body)
		assert.Equal(t, readable, len(r.Anomalies) == 0, body)
	}
}

func TestWhatIsNoEscapeStays(t *testing.T) {
	var d Decoder
	r, err := d.Form(Call{Arrived: arrived, Body: "id=1&a=%3:%3G%3/%3%40%3`%3g%:0%G0%/0%`0%g0%4&b=%3a%3A%3f%3F"})
	require.NoError(t, err)
	assert.Equal(t, []Variable{{Name: "a", Value: "%3:%3G%3/%3@%3`%3g%:0%G0%/0%`0%g0%4"}, {Name: "b", Value: "::??"}}, r.Variables)
}

func TestAsManyTagsAsVariables(t *testing.T) {
	// The id and the text of the tags count too, and the check is before the tag that would be one too many.
	const most = MaxVariables - 1
	for tags, want := range map[int]error{most: nil, most + 1: ErrTooManyVariables} {
		body := "id=1&tags=" + strings.Repeat("x;", tags)
		var d Decoder
		r, err := d.Form(Call{Arrived: arrived, Body: body})
		require.ErrorIs(t, err, want)
		if want == nil {
			assert.Len(t, r.Tags, most)
		}
	}
}

func TestAsManyArraysAsVariables(t *testing.T) {
	for arrays, want := range map[int]error{MaxVariables: nil, MaxVariables + 1: ErrTooManyVariables} {
		var d Decoder
		_, err := d.JSON(Call{Arrived: arrived, Body: `{"id":"1","a":[` + strings.TrimSuffix(strings.Repeat("[],", arrays-1), ",") + `]}`})
		require.ErrorIs(t, err, want, "%d arrays", arrays)
	}
}
