package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rsa"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature"
	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature/signaturetest"
)

func goodKey() *rsa.PrivateKey { return signaturetest.Key(2048, "") }

func otherKey() *rsa.PrivateKey { return signaturetest.Key(2048, "other") }

func answerOf(keys ...*rsa.PrivateKey) signaturetest.Answer {
	var records []string
	for _, key := range keys {
		records = append(records, signaturetest.KeyRecord(key))
	}
	return signaturetest.TXT(records...)
}

// startDNS starts a DNS server that has the good key.
func startDNS(t *testing.T) *signaturetest.DNSServer {
	t.Helper()
	dns := signaturetest.StartDNS()
	t.Cleanup(dns.Close)
	dns.Set(signaturetest.KeyName, answerOf(goodKey()))
	return dns
}

// newSigned returns a collector that accepts only what is signed with keys from the DNS server.
func newSigned(t *testing.T, dns *signaturetest.DNSServer, files ...string) *collector {
	t.Helper()
	return newCollector(t, []string{"RESOLVER=" + dns.Address},
		append([]string{"testdata/signature.yaml"}, files...)...)
}

// signedCall returns a call, not signed yet, with private data that must not be in any output.
func signedCall(id string) *signaturetest.Request {
	r := signaturetest.NewRequest(goodKey(),
		"id="+id+"&type=failure&recipient=private-person%40private.example&state=rcptto&code=550"+
			"&extended=5.1.1&description=550+5.1.1+%3Cprivate-person%40private.example%3E+private-text")
	r.Set("X-Nonce", "private-nonce-"+r.Get("X-Nonce"))
	r.Add("Connection", "close")
	return r
}

// sendSigned sends a well-signed call and returns the status of the response.
func sendSigned(t *testing.T, c *collector, id string) int {
	t.Helper()
	got, err := exchangeOnce(c.address, signedCall(id).Sign().Raw())
	require.NoError(t, err)
	return got.status
}

// The responses that matter here, whole.
var (
	accepted = rawResponse{http.StatusOK, "Content-Length: 0\r\n", ""}
	refused  = rawResponse{
		http.StatusUnauthorized,
		"Content-Length: 13\r\nContent-Type: text/plain; charset=utf-8\r\nWww-Authenticate: Signature\r\n" +
			"X-Content-Type-Options: nosniff\r\n",
		"unauthorized\n",
	}
	keyUnavailable = rawResponse{
		http.StatusServiceUnavailable,
		"Content-Length: 66\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 10\r\n" +
			"X-Content-Type-Options: nosniff\r\n",
		"the key of the signature cannot be looked up now, try again later\n",
	}
)

var tallyLabel = regexp.MustCompile(`\b(?:reason|outcome)="([^"]*)"`)

// tally is what the collector has counted, by metric and reason or outcome.
type tally map[string]int

func tallyOf(t *testing.T, c *collector) tally {
	t.Helper()
	counted := make(tally)
	for _, s := range scrape(t, c.telemetry) {
		metric, ours := strings.CutPrefix(s.name, "otelcol_smtp_failure_")
		if match := tallyLabel.FindStringSubmatch(s.labels); ours && match != nil {
			counted[metric+" "+match[1]] += int(s.value)
		}
	}
	return counted
}

// since returns what was counted after before of some metrics.
func (t tally) since(before tally, metrics ...string) tally {
	added := make(tally)
	for name, n := range t {
		metric, _, _ := strings.Cut(name, " ")
		if n != before[name] && slices.Contains(metrics, metric) {
			added[name] = n - before[name]
		}
	}
	return added
}

// attack is a call, and what becomes of it.
type attack struct {
	name   string
	reason string // of a refusal; empty: it is accepted
	// sign changes the call before it is signed, and send after it is.
	sign, send func(r *signaturetest.Request)
}

// http400 is the reason where net/http answers 400 before the receiver sees the call.
const http400 = "net/http answers 400"

// attacks has a call for every reason of a refusal, and those in which net/http has a part.
// internal/signature has more.
func attacks() []attack {
	type request = signaturetest.Request
	set := func(name, value string) func(*request) { return func(r *request) { r.Set(name, value) } }
	add := func(name, value string) func(*request) { return func(r *request) { r.Add(name, value) } }
	target := func(target string) func(*request) { return func(r *request) { r.Target = target } }
	host := func(host string) func(*request) { return func(r *request) { r.Host = host } }
	cover := func(names string) func(*request) { return func(r *request) { r.Covered = strings.Fields(names) } }
	hash := func(hash crypto.Hash) func(*request) { return func(r *request) { r.Hash = hash } }
	keyID := func(id string) func(*request) { return func(r *request) { r.KeyID = id } }
	key := func(key *rsa.PrivateKey, bits int) func(*request) {
		return func(r *request) { r.Key, r.KeyID = key, sizeName(bits) }
	}
	parameters := func(parameters string) func(*request) { return func(r *request) { r.Parameters = parameters } }
	inSignature := func(old, with string) func(*request) {
		return func(r *request) { r.Set("Signature", strings.Replace(r.Get("Signature"), old, with, 1)) }
	}
	signed := func(old, with string) func(*request) {
		return func(r *request) {
			r.EditSigned = func(lines []string) []string {
				return strings.Split(strings.Replace(strings.Join(lines, "\n"), old, with, 1), "\n")
			}
		}
	}
	date := func(age time.Duration) func(*request) {
		return func(r *request) { r.Set("Date", time.Now().Add(-age).UTC().Format(http.TimeFormat)) }
	}
	zip := func(r *request) {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(r.Body)) // Neither fails in memory.
		_ = w.Close()
		r.SetBody(b.String())
		r.Add("Content-Encoding", "gzip")
	}
	all := []attack{
		{"as the sender does it", "", nil, nil},
		{
			"a covered header that is not there", "missing_header",
			func(r *request) { r.Covered = append(r.Covered, "x-other") }, nil,
		},
		{"the date is not covered", "uncovered_header", cover("(request-target) host digest x-copernica-id"), nil},
		{
			"a blank list", "uncovered_header",
			parameters(`keyId="{keyId}",algorithm="{algorithm}",headers=" ",signature="{signature}"`), nil,
		},
		{"a date twice", "repeated_header", nil, add("Date", "other")},
		{"a blank date", "empty_header", set("Date", " \t "), nil},
		{"no Host in HTTP/1.0", "empty_header", func(r *request) { r.Proto, r.Host = "HTTP/1.0", "" }, nil},
		{"no Host in HTTP/1.1", http400, host(""), nil},
		{"Host twice", http400, nil, add("Host", "other.example.org")},
		{"Content-Length twice", http400, nil, add("Content-Length", "1")},
		{"a header of 17 KiB", "malformed_header", set("X-Nonce", strings.Repeat("n", 17<<10)), nil},
		{"a header that is not covered may be anything", "", nil, add("X-Forwarded-For", "198.51.100.1")},
		{"names of headers in any case", "", nil, func(r *request) {
			for name, values := range r.Clone().Header {
				r.Del(name)
				r.Header[strings.ToUpper(name)] = values
			}
		}},
		{"names signed in upper case", "signature_mismatch", signed("digest", "DIGEST"), nil},

		{
			"folded, without a comma, as the sender's sample", "",
			parameters("keyId=\"{keyId}\",\r\n algorithm=\"{algorithm}\"," +
				"\r\n\theaders=\"{headers}\"\r\n signature=\"{signature}\""), nil,
		},
		{"a folded signature", "", nil, inSignature("==", "=\r\n =")},
		{"no parameters", "missing_parameter", parameters(""), nil},
		{"a scheme as in Authorization", "malformed_signature", parameters(`Signature keyId="{keyId}"`), nil},
		{"a parameter twice", "repeated_parameter", parameters(`keyId="{keyId}",keyId="{keyId}"`), nil},
		{"created", "forbidden_parameter", nil, inSignature("keyId", "created=1,keyId")},
		{"no signature", "missing_signature", nil, func(r *request) { r.Del("Signature") }},
		{"two signatures", "repeated_signature", nil, add("Signature", "other")},
		{"the list in another order than signed", "signature_mismatch", nil, inSignature("host date", "date host")},
		{"the list without one that was signed", "signature_mismatch", nil, inSignature(" x-nonce", "")},

		{"another algorithm", "unsupported_algorithm", func(r *request) { r.Algorithm = "rsa-sha256 " }, nil},
		{"the hash is SHA-1", "signature_mismatch", hash(crypto.SHA1), nil},
		{"the hash is MD5", "signature_mismatch", hash(crypto.MD5), nil},
		{"the hash is SHA-512", "signature_mismatch", hash(crypto.SHA512), nil},
		{"a key of 1024 bits", "", key(signaturetest.Key(1024, ""), 1024), nil},
		{"a key of 4096 bits", "", key(signaturetest.Key(4096, ""), 4096), nil},
		{"a key of 8192 bits", "unusable_key", key(goodKey(), 8192), nil},
		{"signed by another key", "signature_mismatch", func(r *request) { r.Key = otherKey() }, nil},

		{"a query", "", target("/failures?a=1&b=2"), nil},
		{"an empty query", "", target("/failures?"), nil},
		{"a query in percents", "", target("/failures?a=%2f&b=%2F+%c3%28&c=%zz"), nil},
		{"a path in percents", "", target("/fail%75res?x=%41"), nil},
		{"in absolute form", "", target("/failures?a=1"), target("http://" + signaturetest.Host + "/failures?a=1")},
		{"an empty query that was added", "signature_mismatch", nil, target("/failures?")},
		{"percents in another case", "signature_mismatch", target("/failures?a=%2F"), target("/failures?a=%2f")},
		{"a path that was decoded", "signature_mismatch", target("/fail%75res"), target("/failures")},
		{"the method signed in upper case", "signature_mismatch", signed("post", "POST"), nil},
		{"a host with the port that is listed", "", host(signaturetest.Host + ":8443"), nil},
		{"a host with another port", "unknown_host", host(signaturetest.Host + ":443"), nil},

		{"chunked", "", nil, (*request).SetChunked},
		{
			"chunked, Content-Length not covered", "", cover("(request-target) host date digest x-copernica-id"),
			(*request).SetChunked,
		},
		{
			"chunked, another Content-Length signed", "signature_mismatch",
			signed("content-length: ", "content-length: 1"), (*request).SetChunked,
		},
		{
			"chunked, an empty Content-Length signed", "signature_mismatch", set("Content-Length", ""),
			(*request).SetChunked,
		},
		{"chunked, another body", "digest_mismatch", nil, func(r *request) {
			r.SetChunked()
			r.Body += "&x=1"
		}},
		{"gzip, the digest of what is sent", "", zip, nil},
		{"gzip and chunked", "", zip, (*request).SetChunked},
		{"gzip, the digest of what is inside", "digest_mismatch", func(r *request) {
			inside := r.Get("Digest")
			zip(r)
			r.Set("Digest", inside)
		}, nil},
		{
			"another body", "digest_mismatch", nil,
			func(r *request) { r.Body = strings.Replace(r.Body, "code=550", "code=250", 1) },
		},
		{"MD5 alone", "unsupported_digest", set("Digest", "MD5=1B2M2Y8AsgTpgAmY7PhCfg=="), nil},
		{"a digest twice", "repeated_digest", set("Digest", signaturetest.SHA256("")+",sha-256=AAAA"), nil},
		{"a digest as RFC 9530 writes it", "malformed_digest", set("Digest", "sha-256=:AAAA:"), nil},

		{"a date that is none", "malformed_date", set("Date", "yesterday"), nil},
		{"almost max_age old", "", date(5*time.Minute - 15*time.Second), nil},
		{"more than max_age old", "old", date(5*time.Minute + 2*time.Second), nil},
		{"not a minute ahead", "", date(-45 * time.Second), nil},
		{"more than a minute ahead", "future", date(-65 * time.Second), nil},
		{"an old date made new", "signature_mismatch", date(time.Hour), date(0)},

		{"another account of ours", "", set("X-Copernica-ID", "account-1234"), nil},
		{"changed to another account of ours", "signature_mismatch", nil, set("X-Copernica-ID", "account-1234")},
		{"another account", "unknown_account", set("X-Copernica-ID", "environment-1234,account-1234"), nil},
		{"the name of a key in another case", "", keyID("ONE._DomainKey.Copernica.COM"), nil},
	}
	for _, id := range []string{
		"evil.com#._domainkey.copernica.com", "a.b._domainkey.copernica.com", "one._domainkey.copernica.com.",
		".one._domainkey.copernica.com", "one.._domainkey.copernica.com", "one._domainkey.evil.com",
		"one._domainkey.evil-copernica.com", "one_domainkey.copernica.com", "one._domainkey.copernica.com@evil.com",
		"one._domainkey.copernica.com evil.com", `one\._domainkey.copernica.com`,
		"o%6ee._domainkey.copernica.com", "öne._domainkey.copernica.com", "one._domainkey.copernıca.com", "127.0.0.1",
	} {
		all = append(all, attack{"a key named " + id, "unknown_selector", keyID(id), nil})
	}
	return all
}

func sizeName(bits int) string { return fmt.Sprint("bits-", bits, signaturetest.KeyDomain) }

// signedRun sends calls to a collector and compares what becomes of them.
type signedRun struct {
	*collector
	metrics  []string       // those that are compared
	accepted map[string]int // message ids
}

// check sends a call and compares the response, and what is counted.
func (s *signedRun) check(t *testing.T, raw, id string, want rawResponse, counted ...string) {
	t.Helper()
	before := tallyOf(t, s.collector)
	got, err := exchangeOnce(s.address, raw)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	wanted := tally{}
	for _, name := range counted {
		wanted[name]++
	}
	assert.Equal(t, wanted, tallyOf(t, s.collector).since(before, s.metrics...))
	if got == accepted {
		s.accepted[id] = 1
	}
}

// checkEnd stops the collector and checks that the records are those of what was accepted, that no
// other names were looked up, and that nothing of a call is in the output.
func (s *signedRun) checkEnd(t *testing.T, dns *signaturetest.DNSServer, names map[string]bool) {
	t.Helper()
	s.stop(t)
	got := make(map[string]int)
	for _, record := range readRecords(t, s.records()) {
		got[fmt.Sprint(record["email.message.id"])]++
		assert.Contains(t, []any{signaturetest.Account, "account-1234"}, record["copernica.account.id"])
	}
	assert.Equal(t, s.accepted, got)
	for _, name := range dns.Names() {
		assert.True(t, names[name], "%s was looked up", name)
	}
	output := s.output.String()
	parts := []string{"private", "%40", "evil", "_domainkey", "environment-", "rsa-sha256", "SHA-256=", "\x1b"}
	for _, part := range parts {
		assert.NotContains(t, output, part)
	}
	assert.Contains(t, output, "A call was refused: ")
}

// TestSignature sends the attacks. All refusals have the same response.
func TestSignature(t *testing.T) {
	dns := startDNS(t)
	// No key may be looked up for a call that can be refused without it.
	const notLookedUp = "cold" + signaturetest.KeyDomain
	dns.Set(notLookedUp, answerOf(goodKey()))
	names := map[string]bool{signaturetest.KeyName: true}
	for _, bits := range []int{1024, 4096, 8192} {
		dns.Set(sizeName(bits), answerOf(signaturetest.Key(bits, "")))
		names[sizeName(bits)] = true
	}
	s := &signedRun{newSigned(t, dns).start(t), []string{"requests", "refusals"}, map[string]int{}}
	require.Equal(t, accepted.status, sendSigned(t, s.collector, "private-first"))
	s.accepted["private-first"] = 1
	withKey := []string{"", "digest_mismatch", "signature_mismatch", "unknown_account", "unusable_key"}
	tried := map[string]bool{
		signature.ReasonNoKey: true, signature.ReasonRevokedKey: true, // in TestSignatureDNS
		// They are not possible with net/http and without a middleware.
		signature.ReasonMalformedTarget: true, signature.ReasonNotChecked: true,
	}
	for i, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			tried[a.reason] = true
			id := fmt.Sprint("private-", i)
			r := signedCall(id)
			if !slices.Contains(withKey, a.reason) {
				r.KeyID = notLookedUp
			}
			if a.sign != nil {
				a.sign(r)
			}
			r.Sign()
			if a.send != nil {
				a.send(r)
			}
			switch a.reason {
			case http400:
				got, err := exchangeOnce(s.address, r.Raw())
				require.NoError(t, err)
				assert.Equal(t, http.StatusBadRequest, got.status)
			case "":
				s.check(t, r.Raw(), id, accepted, "requests accepted")
			default:
				s.check(t, r.Raw(), id, refused, "requests unauthorized", "refusals "+a.reason)
			}
		})
	}
	for _, reason := range signature.Reasons {
		assert.True(t, tried[reason], "no call is refused for %s", reason)
	}
	// A repeat within the window is absorbed, byte for byte or signed anew.
	again := signedCall("private-again").Sign()
	s.check(t, again.Raw(), "private-again", accepted, "requests accepted")
	s.check(t, again.Raw(), "private-again", accepted, "requests duplicate")
	again.Set("X-Nonce", "another")
	s.check(t, again.Sign().Raw(), "private-again", accepted, "requests duplicate")
	s.checkEnd(t, dns, names)
}

// TestSignatureBehindAProxy has a prefix in the signed path, which a proxy removes, and any host.
func TestSignatureBehindAProxy(t *testing.T) {
	dns := startDNS(t)
	s := &signedRun{newSigned(t, dns).set("receivers::smtp_failure::signature::signed_path_prefix=/hooks",
		"receivers::smtp_failure::signature::hosts=[]").start(t), nil, map[string]int{}}
	for i, path := range []struct {
		signed, sent, host string
		want               rawResponse
	}{
		{"/hooks/failures", "/failures", signaturetest.Host, accepted},
		{"/hooks/failures?a=%2f", "/failures?a=%2f", "anything.example:1", accepted},
		{"/failures", "/failures", signaturetest.Host, refused},
		{"/hooks/hooks/failures", "/failures", signaturetest.Host, refused},
		{"/h%6foks/failures", "/failures", signaturetest.Host, refused},
		{"/hooks/failures", "/hooks/failures", signaturetest.Host, rawResponse{status: http.StatusNotFound}},
	} {
		r := signedCall(fmt.Sprint("private-proxy-", i))
		r.Target, r.Host = path.signed, path.host
		r.Sign()
		r.Target = path.sent
		got, err := exchangeOnce(s.address, r.Raw())
		require.NoError(t, err)
		assert.Equal(t, path.want.status, got.status, path)
		if got == accepted {
			s.accepted[fmt.Sprint("private-proxy-", i)] = 1
		}
	}
	s.checkEnd(t, dns, map[string]bool{signaturetest.KeyName: true})
}

// TestSignatureDNS has the DNS answer in different ways. internal/signature has more of them.
func TestSignatureDNS(t *testing.T) {
	dns := startDNS(t)
	s := &signedRun{newSigned(t, dns).start(t), []string{"requests", "refusals", "key_lookups"}, map[string]int{}}
	names, calls := make(map[string]bool), 0
	signed := func(name string, key *rsa.PrivateKey) (raw, id string) {
		names[name] = true
		calls++
		id = fmt.Sprint("private-dns-", calls)
		r := signedCall(id)
		r.Key, r.KeyID = key, name
		return r.Sign().Raw(), id
	}
	check := func(t *testing.T, name string, key *rsa.PrivateKey, want rawResponse, counted ...string) {
		t.Helper()
		raw, id := signed(name, key)
		s.check(t, raw, id, want, counted...)
	}
	together := func(t *testing.T, n int, name string, key *rsa.PrivateKey) {
		t.Helper()
		var group sync.WaitGroup
		for range n {
			raw, id := signed(name, key)
			s.accepted[id] = 1
			group.Go(func() {
				got, err := exchangeOnce(s.address, raw)
				assert.Equal(t, accepted, got, "%v", err)
			})
		}
		group.Wait()
	}

	truncated, silent := answerOf(goodKey()), signaturetest.Answer{Silent: true}
	truncated.Truncated = true
	const ok, unauthorized, unavailable = "requests accepted", "requests unauthorized", "requests key_unavailable"
	for i, test := range []struct {
		name    string
		answer  signaturetest.Answer
		want    rawResponse
		counted []string
		overTCP bool
	}{
		{"several records", answerOf(otherKey(), goodKey()), accepted, []string{ok, "key_lookups found"}, false},
		{"truncated to TCP", truncated, accepted, []string{ok, "key_lookups found"}, true},
		{
			"NXDOMAIN", signaturetest.RCode(dnsmessage.RCodeNameError), refused,
			[]string{unauthorized, "refusals no_key", "key_lookups absent"},
			false,
		},
		{
			"revoked", signaturetest.TXT("v=DKIM1; k=rsa; p="), refused,
			[]string{unauthorized, "refusals revoked_key", "key_lookups revoked"},
			false,
		},
		{
			"SERVFAIL", signaturetest.RCode(dnsmessage.RCodeServerFailure), keyUnavailable,
			[]string{unavailable, "key_lookups failed"},
			false,
		},
		{"timeout", silent, keyUnavailable, []string{unavailable, "key_lookups timeout"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := fmt.Sprint("case-", i, signaturetest.KeyDomain)
			dns.Set(name, test.answer)
			check(t, name, goodKey(), test.want, test.counted...)
			assert.Positive(t, dns.Count(name, "udp"))
			assert.Equal(t, test.overTCP, dns.Count(name, "tcp") > 0)
		})
	}
	t.Run("a key is looked up once, by calls at once too", func(t *testing.T) {
		const name = "at-once" + signaturetest.KeyDomain
		slow := answerOf(goodKey())
		slow.Delay = 300 * time.Millisecond // long enough for all the calls to ask while the first waits
		dns.Set(name, slow)
		together(t, 40, name, goodKey())
		check(t, name, goodKey(), accepted, ok)
		assert.Equal(t, 1, dns.Count(name))
	})
	t.Run("rotation in mid-run", func(t *testing.T) {
		const name = "rotated" + signaturetest.KeyDomain
		dns.Set(name, answerOf(goodKey()))
		check(t, name, goodKey(), accepted, ok, "key_lookups found")
		dns.Set(name, answerOf(otherKey()))
		check(t, name, goodKey(), accepted, ok) // until it is asked for again
		together(t, 20, name, otherKey())
		assert.Equal(t, 2, dns.Count(name))
		// Mismatches have a key looked up four times a second at most.
		began := time.Now()
		for range 3 {
			raw, _ := signed(name, goodKey())
			got, err := exchangeOnce(s.address, raw)
			require.NoError(t, err)
			assert.Equal(t, refused, got)
		}
		assert.LessOrEqual(t, dns.Count(name), 3+int(4*time.Since(began)/time.Second))
	})
	t.Run("the DNS is down", func(t *testing.T) {
		const name = "at-once" + signaturetest.KeyDomain
		dns.Close()
		check(t, name, otherKey(), keyUnavailable, unavailable, "key_lookups failed")
		check(t, name, goodKey(), accepted, ok)
		check(t, "unknown"+signaturetest.KeyDomain, goodKey(), keyUnavailable, unavailable, "key_lookups failed")
	})
	s.checkEnd(t, dns, names)
}

// TestHealth checks that health_check shows whether keys of signatures can be looked up.
func TestHealth(t *testing.T) {
	dns := startDNS(t)
	c := newSigned(t, dns, "testdata/health.yaml")
	c.args = append(c.args, "--feature-gates=+extension.healthcheck.useComponentStatus")
	c.start(t)
	becomes := func(want int, containing string) {
		t.Helper()
		c.eventually(t, fmt.Sprintf("health_check answers %d %s", want, containing), func() bool {
			got, body := get("http://" + c.health + "/?verbose")
			return got == want && strings.Contains(body, containing)
		})
	}
	becomes(http.StatusOK, "StatusOK")
	dns.Set(signaturetest.KeyName, signaturetest.RCode(dnsmessage.RCodeServerFailure))
	assert.Equal(t, http.StatusServiceUnavailable, sendSigned(t, c, "health-1"))
	becomes(http.StatusInternalServerError, "the DNS does not answer for the keys of signatures")
	dns.Set(signaturetest.KeyName, answerOf(goodKey()))
	// A failed lookup is cached for two seconds.
	c.eventually(t, "the call is let in", func() bool { return sendSigned(t, c, "health-1") == http.StatusOK })
	becomes(http.StatusOK, "StatusOK")
	for _, message := range []string{
		"The keys of signatures cannot be looked up",
		"The keys of signatures can be looked up again",
	} {
		assert.Equal(t, 1, strings.Count(c.output.String(), message), message)
	}
}
