package signature

import (
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// isTextByByte is isText as the standard has it.
func isTextByByte(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// TestEveryByteAtEveryPlace puts every byte, between others that are near the bounds, at each place of what is read eight bytes at a time.
func TestEveryByteAtEveryPlace(t *testing.T) {
	for _, around := range []string{" ", "~", "\t", "\x80", "\xff", "\x1f"} {
		for size := range 20 {
			for i := range size {
				for c := range 256 {
					s := []byte(strings.Repeat(around, size))
					s[i] = byte(c)
					if text := string(s); isText(text) != isTextByByte(text) {
						t.Fatalf("%q", text)
					}
				}
			}
		}
	}
}

func TestCanonicalNames(t *testing.T) {
	for _, name := range []string{"date", "x-copernica-id", "content-length", "-", "--a-", "a--b", "x_y-z", "1a-2b", "!#$%&'*+-.^_`|~", "etag", "www-authenticate"} {
		assert.Equal(t, textproto.CanonicalMIMEHeaderKey(name), string(appendCanonical(nil, []byte(name))))
	}
}

// FuzzTextAgreesWithReference compares what is written for the sender's calls with what the standard library says of any text.
func FuzzTextAgreesWithReference(f *testing.F) {
	for _, text := range []string{
		"", " ", "\t", listText, strings.ToUpper(listText), " " + listText, listText + " ", strings.ReplaceAll(listText, " ", "\t"), listText + "  x",
		listText + "\u00a0x", listText + "\u2028x", listText + " \u212a", listText + " date", listText + strings.Repeat(" x", 40), "Ä", "caf\xe9", `a\"b"`, `a"b`,
		"application/x-www-form-urlencoded", "application/x-www-form\x7furlencoded", "application/x-www-form\turlencoded", "X-Nonce", "x--nonce-",
	} {
		f.Add(text, strings.ToUpper(text))
	}
	f.Fuzz(func(t *testing.T, s, other string) {
		assert.Equal(t, isTextByByte(s), isText(s))
		assert.Equal(t, lower(s), string(appendLower(nil, s)))
		assert.Equal(t, lower(s) == lower(other), same(s, other))
		assert.Equal(t, strings.Trim(s, " \t"), trim(s))
		assert.Equal(t, strings.TrimLeft(s, " \t"), skip(s, ' '))
		assert.Equal(t, strings.TrimLeft(s, ", \t"), skip(s, ','))
		if isToken(s) {
			assert.Equal(t, textproto.CanonicalMIMEHeaderKey(s), string(appendCanonical(nil, []byte(lower(s)))))
		}
		value, rest, ok := cutQuoted(s)
		wantValue, wantRest, wantOK := cutQuotedByByte(s)
		assert.Equal(t, []any{wantValue, wantRest, wantOK}, []any{value, rest, ok})

		if !isText(s) {
			return
		}
		want, reason := coveredByReference(s)
		headers, err := parseCovered(s, nil)
		if reason != "" {
			assertRefused(t, reason, err)
			return
		}
		require.NoError(t, err)
		for i, name := range headers {
			headers[i] = lower(name)
		}
		assert.Equal(t, want, headers)
	})
}

// cutQuotedByByte is cutQuoted without a way around.
func cutQuotedByByte(s string) (value, rest string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

// coveredByReference is parseCovered of a list in lower case.
func coveredByReference(list string) (headers []string, reason string) {
	headers = strings.Fields(lower(list))
	if len(headers) > maxCovered {
		return nil, ReasonMalformedSignature
	}
	for i, name := range headers {
		if name != requestTarget && !isToken(name) {
			return nil, ReasonMalformedSignature
		}
		if slices.Contains(headers[:i], name) {
			return nil, ReasonRepeatedHeader
		}
	}
	for _, name := range required {
		if !slices.Contains(headers, name) {
			return nil, ReasonUncoveredHeader
		}
	}
	return headers, ""
}
