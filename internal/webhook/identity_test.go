package webhook

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// identity returns that of a form, signed by an account.
func identity(tb testing.TB, account, body string) string {
	tb.Helper()
	e, err := new(Decoder).Form(Call{Arrived: arrived, Body: body, Account: account})
	require.NoError(tb, err, body)
	return e.Identity.String()
}

// Identities are stored and sent. When one of these changes, identityVersion has to.
func TestIdentityIsPinned(t *testing.T) {
	for _, tc := range []struct{ account, body, want string }{
		// Computed apart from this code: half of the SHA-256 over identityVersion and the eleven
		// fields, each after its length as a uvarint.
		{"environment-1", readVectors(t).Encodings[0].Body, "e3ccfd3a82ed9d8d028ec6bcbbb203f8"},
		{"", "id=1&timestamp=2026-11-21+10:14:58", "103aa85a730a67afc8d5e94aa2c12265"},
		{"", "id=1", "e16f3d79759a18c3fb0bb6edf61d9545"},
		// Arrays in place of single values.
		{"", "id=1&code[]=550", "0388d3f27fbbcbdf489aef4aba49cda5"},
		{"", "id=1&code[]=550&code[]=551", "ed32648ebc596b7a7ebb11b02e99cd1b"},
		{"", "id=1&code[a]=550", "1f75cc1d35a46cc668ffac3afe0f6cac"},
		{"", "id=1&code[a]=550&code[b]=551", "5dade58cabba6d6ef645d8e5e10eb512"},
		{"", "id=1&code[a][]=550&code[a][]=551&code[b]=552", "aa10030461fbad9d4a872ac99d4ea23e"},
		{"", "id=1&recipient=a%40b.example&recipient[x]=c", "fec5bc2ac25121d04d8669a227f99742"},
		{"", "id=1&recipient[x]=c&recipient=a%40b.example", "fec5bc2ac25121d04d8669a227f99742"},
		{"", "id=1&description[]=&description[]=x&time[y]=2", "c0a6793989de5af1687a5addfc1702c2"},
	} {
		assert.Equal(t, tc.want, identity(t, tc.account, tc.body), "%.100s", tc.body)
	}
}

const (
	mostIdentified = "id=1&type=failure&recipient=a@b.example&action=failed&state=rcptto&code=550&extended=5.1.1" +
		"&description=no"
	identified = mostIdentified + "&time=1795256098"
)

func TestIdentityStaysTheSame(t *testing.T) {
	want := identity(t, "account-1", identified)
	for _, body := range []string{
		"time=1795256098&" + mostIdentified,
		identified + "&tags[]=b&tags[]=a",
		identified + "&tags=c;d",
		identified + "&x=y&parameters[k]=v",
		identified + "&z=&tags=",
		identified + "&timestamp=2001-01-01+00:00:00",
		identified + "&timestamp=soon",
		"id=2&code=421&" + identified, // the last counts
	} {
		assert.Equal(t, want, identity(t, "account-1", body), body)
	}
	e, err := new(Decoder).JSON(Call{Account: "account-1", Body: `{"time":1795256098,"timestamp":"2026-11-21 10:14:58",
		"code":550,"id":1,"type":"failure","recipient":"a@b.example","action":"failed","state":"rcptto",
		"extended":"5.1.1","description":"no","tags":["b","a"],"y":true}`})
	require.NoError(t, err)
	assert.Equal(t, want, e.Identity.String())
	assert.Equal(t, identity(t, "", "id=1&description=%E9"), identity(t, "", "id=1&description=%C3%A9"), "a charset")
}

func TestIdentityTellsEventsApart(t *testing.T) {
	bodies := []string{identified, mostIdentified, "id=1", "id=1&code=550", "id=1&code=551"}
	// The last of repeated values counts.
	for change := range strings.FieldsSeq(`type= id=2 recipient=c@b.example recipient=A@b.example recipient=
		time=1795256099 time=0 time=2026-11-21+10:14:58 time=timestamp+2026-11-21+10:14:58
		action=failure action= state=data state= code=551 code=none code=null code=
		extended=5.1.2 extended=5.1 extended= description=No description=`) {
		bodies = append(bodies, identified+"&"+change)
	}
	// Without a time that can be read, timestamps differ.
	for _, timestamp := range []string{"2026-11-21+10:14:58", "2026-11-22+10:14:58", "0000-00-00", "1795256098"} {
		for _, time := range []string{"", "&time=0", "&time[]=1795256098"} {
			bodies = append(bodies, mostIdentified+time+"&timestamp="+timestamp)
		}
	}
	// Arrays in place of single values differ from those, from each other, and from similar texts.
	for _, name := range fieldNames {
		if name == "id" || name == "type" {
			continue
		}
		for _, values := range []string{
			"N=a", "N=ab", "N=a%09b", "N[]=a", "N[]=a&N[]=b", "N[]=b&N[]=a", "N[]=a%09b", "N[]=a&N[]=b&N[]=b",
			"N[0]=a", "N[0]=b",
		} {
			bodies = append(bodies, "type=failure&id=1&"+strings.ReplaceAll(values, "N", name))
		}
	}
	seen := map[string]string{
		identity(t, "account-2", identified): "another account",
		identity(t, "", identified):          "no account",
	}
	for _, body := range bodies {
		got := identity(t, "account-1", body)
		assert.Empty(t, seen[got], "it has the identity of %s", body)
		seen[got] = body
	}
}

// No text can be cut in two places to mean two events with one identity.
func TestIdentityKeepsFieldsApart(t *testing.T) {
	names := []string{"account", "id", "recipient", "time", "action", "state", "code", "extended", "description"}
	for _, a := range names {
		for _, b := range names {
			cuts := map[string]string{}
			for _, cut := range []string{"xyz,", "xy,z", "x,yz", ",xyz", "x|,yz", "x,|yz", "x\ty,z"} {
				first, second, _ := strings.Cut(cut, ",")
				if a == b || a == "id" && first == "" || b == "id" && second == "" {
					continue
				}
				fields := map[string]string{"id": "i", a: first, b: second}
				body := "type=failure"
				for _, name := range names[1:] {
					body += "&" + name + "=" + encodeForm(fields[name])
				}
				got := identity(t, fields["account"], body)
				assert.Empty(t, cuts[got], "%s and %s", a, b)
				cuts[got] = cut
			}
		}
	}
}

// Nobody without the key finds out whom an identity is about by trying addresses.
func TestIdentityIsKeyed(t *testing.T) {
	keyed := func(key, body string) string {
		e, err := (&Decoder{Key: []byte(key)}).Form(Call{Arrived: arrived, Body: body})
		require.NoError(t, err)
		return e.Identity.String()
	}
	const key, body = "0123456789abcdef", "id=1&timestamp=2026-11-21+10:14:58"
	// Computed apart from this code, with HMAC-SHA-256 over what TestIdentityIsPinned describes.
	const want = "39536b9c1dd99118b1adc6d97cd09b04"
	assert.Equal(t, want, keyed(key, body))
	assert.Equal(t, want, keyed(key, body+"&tags[]=x&y=z"), "a repeat")
	assert.NotEqual(t, want, keyed("", body))
	assert.NotEqual(t, want, keyed("fedcba9876543210", body))
	assert.NotEqual(t, want, keyed(key, body+"&recipient=a@b.example"))
}
