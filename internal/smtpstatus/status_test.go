package smtpstatus

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseCode(t *testing.T) {
	for n := range 1000 {
		s := fmt.Sprintf("%03d", n)
		got, ok := ParseCode(s)
		if n < 100 {
			n = 0
		}
		assert.Equal(t, n, got, s)
		assert.Equal(t, n > 0, ok, s)
	}
	for _, s := range []string{
		"", "5", "55", "5500", "0550", " 550", "550 ", " 55", "5 0", "+55", "-55", "5.0", "55a", "a55", "0x1", "1e2", "5_0", "٥٥٠", "５",
		"55/", "55:",
	} {
		got, ok := ParseCode(s)
		assert.False(t, ok, s)
		assert.Zero(t, got, s)
	}
}

var validStatuses = map[string]Enhanced{
	"2.0.0":     {2, 0, 0},
	"4.2.2":     {4, 2, 2},
	"5.1.10":    {5, 1, 10},
	"5.7.51":    {5, 7, 51},
	"5.7.705":   {5, 7, 705},
	"5.10.1":    {5, 10, 1},
	"4.0.999":   {4, 0, 999},
	"5.999.999": {5, 999, 999},
}

var invalidStatuses = []string{
	"", "5", "5.", "5.1", "5.1.", "5..1", ".1.1", "..", "5...",
	"0.1.1", "1.1.1", "3.1.1", "6.0.1", "x.1.1", "55.1.1", "05.1.1",
	"5.01.1", "5.1.01", "5.00.1", "5.1.001", "5.1000.1", "5.1.1000", "5.65537.1", "5.1.99999999999999999999",
	" 5.1.1", "5.1.1 ", "5. 1.1", "5.1 .1", "5.1.1\n", "5.1.1\x00", "5.1.1.", "5.1.1.1",
	"+5.1.1", "-5.1.1", "5.+1.1", "5.1.-1", "5.1.1e0", "5.0x1.1", "5.1.a", "5.a.1",
	"5.1.1 (no such user)", "5(c).1.1", "#5.1.1", "5,1,1", "5.1,1", "550 5.1.1", "511.1", "٥.١.١", "5.１.1", "5.1.1\u00a0",
}

func TestParseEnhanced(t *testing.T) {
	for s, want := range validStatuses {
		got, ok := ParseEnhanced(s)
		assert.True(t, ok, s)
		assert.Equal(t, want, got, s)
		assert.Equal(t, s, got.String())
		assert.False(t, got.IsZero(), s)
	}
	for _, s := range invalidStatuses {
		got, ok := ParseEnhanced(s)
		assert.False(t, ok, s)
		assert.True(t, got.IsZero(), s)
	}
	assert.Empty(t, Enhanced{}.String())
	assert.Equal(t, "65535.65535.65535", Enhanced{65535, 65535, 65535}.String())
}

func FuzzParseEnhanced(f *testing.F) {
	for s := range validStatuses {
		f.Add(s)
	}
	for _, s := range invalidStatuses {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, ok := ParseEnhanced(s)
		if !ok {
			assert.True(t, e.IsZero())
			return
		}
		assert.Equal(t, s, e.String())
		assert.Contains(t, []uint16{2, 4, 5}, e.Class)
		assert.Less(t, max(e.Subject, e.Detail), uint16(1000))
		assert.Equal(t, e.Class == 2, Class(e, 0) == ClassUnknown)
	})
}

func TestClass(t *testing.T) {
	for _, tc := range []struct {
		enhanced string
		code     int
		want     string
	}{
		{"", 500, ClassPermanent},
		{"", 599, ClassPermanent},
		{"", 400, ClassTransient},
		{"", 499, ClassTransient},
		{"", 0, ClassUnknown},
		{"", 250, ClassUnknown},
		{"", 399, ClassUnknown},
		{"", 600, ClassUnknown},
		{"", 5, ClassUnknown},
		{"", 5500, ClassUnknown},
		{"", -550, ClassUnknown},
		{"5.1.1", 0, ClassPermanent},
		{"4.2.2", 0, ClassTransient},
		{"5.9.9", 0, ClassPermanent}, // the class needs no registered subject
		{"4.2.2", 552, ClassTransient},
		{"5.7.1", 450, ClassPermanent},
		{"2.0.0", 0, ClassUnknown}, // success is not the class of a failure
		{"2.0.0", 550, ClassPermanent},
		{"2.1.5", 450, ClassTransient},
	} {
		e, _ := ParseEnhanced(tc.enhanced)
		assert.Equal(t, tc.want, Class(e, tc.code), "%+v", tc)
	}
	assert.Equal(t, ClassPermanent, Class(Enhanced{6, 0, 1}, 550), "not a class of RFC 3463")
}

// TestRegistry has the first and the last row of each subject of the IANA registry.
func TestRegistry(t *testing.T) {
	last := map[string]string{
		"0.0":  "Other undefined Status",
		"1.10": "Recipient address has null MX",
		"2.4":  "Mailing list expansion problem",
		"3.6":  "Requested priority was changed",
		"4.7":  "Delivery time expired",
		"5.6":  "Authentication Exchange line is too long",
		"6.10": "UTF-8 string reply required but not permitted",
		"7.30": "REQUIRETLS support required",
	}
	require.Len(t, registry, len(last))
	for subject, details := range registry {
		end := fmt.Sprintf("%d.%d", subject, len(details)-1)
		assert.Equal(t, last[end], details[len(details)-1].meaning, end)
		assert.True(t, strings.HasPrefix(details[0].meaning, "Other "), "X.%d.0 stands for what is not registered", subject)
		for detail, row := range details {
			meaning, ok := Enhanced{4, uint16(subject), uint16(detail)}.Meaning()
			assert.True(t, ok && meaning != "" && meaning == row.meaning, "X.%d.%d: %s", subject, detail, meaning)
		}
		_, ok := Enhanced{5, uint16(subject), uint16(len(details))}.Meaning()
		assert.False(t, ok, "beyond %s", end)
	}
	for _, e := range []Enhanced{{}, {5, 8, 0}, {5, 65535, 0}, {5, 0, 65535}} {
		meaning, ok := e.Meaning()
		assert.False(t, ok, e)
		assert.Empty(t, meaning)
	}
}
