package signature

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// padded returns the header with as many bytes as asked for.
func padded(size int) string {
	const start = `,x="`
	return headerText + start + strings.Repeat("x", size-len(headerText)-len(start)-1) + `"`
}

func TestBoundsOfTheSignatureHeader(t *testing.T) {
	_, _, err := parseSignature([]string{padded(maxSignatureHeader)}, nil)
	require.NoError(t, err)
	_, _, err = parseSignature([]string{padded(maxSignatureHeader + 1)}, nil)
	assertRefused(t, ReasonMalformedSignature, err)

	more := headerText
	for i := range maxParameters - 4 {
		more += fmt.Sprintf(",x%d=1", i)
	}
	_, _, err = parseSignature([]string{more}, nil)
	require.NoError(t, err)
	_, _, err = parseSignature([]string{more + ",y=1"}, nil)
	assertRefused(t, ReasonMalformedSignature, err)

	covered := listText
	for i := range maxCovered - len(required) {
		covered += fmt.Sprintf(" x%d", i)
	}
	headers, err := parseCovered(covered, nil)
	require.NoError(t, err)
	assert.Len(t, headers, maxCovered)
	_, err = parseCovered(covered+" y", nil)
	assertRefused(t, ReasonMalformedSignature, err)
}

// Where a parser of its own would pass them over too, the bytes are refused as a whole.
func TestControlCharactersAreInNoHeader(t *testing.T) {
	for _, c := range []string{"\x00", "\x01", "\n", "\r", "\x1f", "\x7f"} {
		_, _, err := parseSignature([]string{headerText + `,x="a` + c + `b"`}, nil)
		assertRefused(t, ReasonMalformedSignature, err)
		assert.False(t, isText("a"+c+"b"), "%q", c)
	}
	assert.True(t, isText("a\tb é"))
}

func TestTokensAreThoseOfTheStandard(t *testing.T) {
	const others = "!#$%&'*+-.^_`|~" // RFC 9110, section 5.6.2
	for c := range 256 {
		s := string([]byte{byte(c)})
		want := strings.Contains(others, s) || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		assert.Equal(t, want, isToken(s), "%q", s)
		small := s
		if 'A' <= c && c <= 'Z' {
			small = string([]byte{byte(c - 'A' + 'a')})
		}
		assert.Equal(t, small, lower(s))
		assert.Equal(t, "a"+small, lower("A"+s))
	}
}

func TestBoundsOfAKeyRecord(t *testing.T) {
	_, ok := parseTags("a=" + strings.Repeat("x", maxRecord-2))
	assert.True(t, ok)
	_, ok = parseTags("a=" + strings.Repeat("x", maxRecord-1))
	assert.False(t, ok)
	list := ""
	for i := range maxTags {
		list += fmt.Sprintf("t%d=1;", i)
	}
	tags, ok := parseTags(list)
	assert.True(t, ok)
	assert.Len(t, tags, maxTags)
	_, ok = parseTags(list + "u=1")
	assert.False(t, ok)
}

func TestAKeyThatServesIsAskedForNowAndThenWhileDNSFails(t *testing.T) {
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		s.clock.advance(renewFrom)
		s.dns.fail(errServfail)
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		synctest.Wait()
		asked := s.dns.count(goodName)
		assert.Equal(t, 2, asked)
		s.clock.advance(retryEvery - time.Second)
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		synctest.Wait()
		assert.Equal(t, asked, s.dns.count(goodName), "it failed just now")
		s.clock.advance(time.Second)
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		synctest.Wait()
		assert.Equal(t, asked+1, s.dns.count(goodName))
	})
}

func TestTheOldestOfTheMissingNamesMakesRoom(t *testing.T) {
	m := make(missing)
	for i := range maxMissing {
		m.add(fmt.Sprint(i), ReasonNoKey, signedAt.Add(-time.Duration(i)*time.Millisecond))
	}
	m.add("0", ReasonNoKey, signedAt)
	assert.Len(t, m, maxMissing, "a name that is there takes no room")
	require.Contains(t, m, fmt.Sprint(maxMissing-1))
	m.add("one more", "", signedAt)
	assert.Len(t, m, maxMissing)
	assert.NotContains(t, m, fmt.Sprint(maxMissing-1), "the oldest")
	assertRefused(t, ReasonNoKey, m.errorOf("0", signedAt.Add(absentFor-1)))
	require.NoError(t, m.errorOf("0", signedAt.Add(absentFor)))
	require.ErrorIs(t, m.errorOf("one more", signedAt.Add(failedFor-1)), ErrKeyUnavailable)
	require.NoError(t, m.errorOf("one more", signedAt.Add(failedFor)))
}

// A key that was changed is looked up again when a signature does not match, and the signature has to match the new one then.
func TestASignatureThatMatchesNeitherTheOldNorTheNewKeyIsRefused(t *testing.T) {
	other := testKey(t, 1024, "other")
	settled(t, func(t *testing.T, s *setting) {
		require.NoError(t, s.send(t, goodName, goodKey(t)))
		s.dns.set(goodName, record(t, &testKey(t, 1024, "second").PublicKey))
		s.clock.advance(recheckEvery)
		assertRefused(t, ReasonSignatureMismatch, s.send(t, goodName, other))
		assert.Equal(t, 2, s.dns.count(goodName), "the new key was looked up")
	})
}
