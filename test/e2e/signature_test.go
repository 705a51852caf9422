package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// startSigned starts a collector that lets in only what is signed with keys from the DNS server.
func startSigned(t *testing.T, resolver string, args ...string) (c *collector, address string) {
	t.Helper()
	address = freeAddress(t)
	telemetry := freeAddress(t)
	records := filepath.Join(t.TempDir(), "records.jsonl")
	c, err := launch(
		[]string{"RECEIVER=" + address, "RESOLVER=" + resolver, "RECORDS=" + records, "TELEMETRY_PORT=" + port(t, telemetry)},
		append([]string{"--config", "testdata/signature.yaml"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	c.failuresURL = "http://" + address + "/failures"
	c.metricsURL = "http://" + telemetry + "/metrics"
	c.logFile = records
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Logf("output of the collector:\n%s", tail(c.output.String(), 15))
		}
	})
	for _, needed := range []string{telemetry, address} {
		c.eventually(t, needed+" takes connections", func() bool {
			connection, err := net.Dial("tcp", needed)
			return err == nil && connection.Close() == nil
		})
	}
	return c, address
}

var label = regexp.MustCompile(`\b(reason|outcome)="([^"]*)"`)

// tally is what the collector counted of something, by reason or outcome.
type tally map[string]float64

func tallyOf(t *testing.T, c *collector, metric string) tally {
	t.Helper()
	counted := make(tally)
	for _, s := range scrape(t, c.metricsURL) {
		if match := label.FindStringSubmatch(s.labels); s.name == metric && match != nil {
			counted[match[2]] += s.value
		}
	}
	return counted
}

// since is what was counted after before.
func (t tally) since(before tally) tally {
	added := make(tally)
	for name, value := range t {
		if value != before[name] {
			added[name] = value - before[name]
		}
	}
	return added
}

const (
	refusalsMetric = "otelcol_smtp_failure_refusals"
	requestsMetric = "otelcol_smtp_failure_requests"
	lookupsMetric  = "otelcol_smtp_failure_key_lookups"
)

// The answers that matter here, whole.
var (
	accepted = reply{200, "Content-Length: 0\r\n", ""}
	refused  = reply{
		401,
		"Content-Length: 13\r\nContent-Type: text/plain; charset=utf-8\r\nWww-Authenticate: Signature\r\nX-Content-Type-Options: nosniff\r\n",
		"unauthorized\n",
	}
	keyUnavailable = reply{
		503,
		"Content-Length: 66\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 10\r\nX-Content-Type-Options: nosniff\r\n",
		"the key of the signature cannot be looked up now, try again later\n",
	}
)

// attack is a call, and why it is refused.
type attack struct {
	name string
	// before changes the call before it is signed, and after it is.
	before, after func(c *signedCall)
	// bits of the key that it is signed with, if it is not the good key.
	bits int
	// reason for which it is refused. Empty: it is let in.
	reason string
	// status of an answer that net/http gives before the receiver sees the call.
	status int
}

// cold is a name with a good key that no call may cause to be looked up, because all that name it are refused before.
const cold = "cold" + keySuffix

// withKey are the reasons for which a key is needed first. The body is read, and its digest checked, only when the signature is known to be good.
var withKey = []string{"", "digest_mismatch", "signature_mismatch", "unknown_account", "no_key", "revoked_key", "unusable_key"}

// attacks has an entry for every line of what a signature has to be.
func attacks() []attack {
	return slices.Concat(coverAttacks(), parameterAttacks(), algorithmAttacks(), targetAttacks(), bodyAttacks(), dateAttacks(), keyNameAttacks(), contentAttacks())
}

func nothing(*signedCall) {}

func coverAttacks() []attack {
	all := []attack{
		{name: "cover: what the sample covers", before: nothing},
		{name: "cover: only what has to be", before: func(c *signedCall) {
			c.covered = strings.Fields("(request-target) host date digest x-copernica-id")
		}},
		{name: "cover: in another order", before: func(c *signedCall) { slices.Reverse(c.covered) }},
		{name: "cover: no list", before: func(c *signedCall) {
			c.parameters = `keyId="{keyId}",algorithm="{algorithm}",signature="{signature}"`
			c.covered = []string{"date"}
		}, reason: "missing_parameter"},
		{name: "cover: an empty list", before: func(c *signedCall) { c.covered = nil }, reason: "missing_parameter"},
		{name: "cover: a blank list", before: func(c *signedCall) { c.parameters = strings.Replace(c.parameters, "{headers}", " ", 1) }, reason: "uncovered_header"},
		{name: "cover: a header twice in the list", before: func(c *signedCall) { c.covered = append(c.covered, "Date") }, reason: "repeated_header"},
		{name: "cover: one that is not there", before: func(c *signedCall) { c.covered = append(c.covered, "x-other") }, reason: "missing_header"},
		{name: "cover: no Host in HTTP/1.0", before: func(c *signedCall) { c.version, c.host = "HTTP/1.0", "" }, reason: "empty_header"},
		{name: "cover: no Host in HTTP/1.1", before: func(c *signedCall) { c.host = "" }, status: 400},
		{name: "cover: Host twice", after: func(c *signedCall) { c.add("Host", "other.example.org") }, status: 400},
		{name: "cover: Content-Length twice", after: func(c *signedCall) { c.add("Content-Length", "1") }, status: 400},
		{name: "cover: a header of 17 KiB", before: func(c *signedCall) { c.set("X-Nonce", strings.Repeat("n", 17<<10)) }, reason: "malformed_header"},
		{name: "cover: a name that is none", before: func(c *signedCall) { c.covered = append(c.covered, "(created)") }, reason: "malformed_signature"},
		{name: "cover: 40 names", before: func(c *signedCall) {
			for i := range 40 {
				c.add(fmt.Sprint("x-", i), "1")
				c.covered = append(c.covered, fmt.Sprint("x-", i))
			}
		}, reason: "malformed_signature"},
		{name: "cover: a header that is not covered may be anything", after: func(c *signedCall) { c.add("X-Forwarded-For", "198.51.100.1") }},
	}
	for _, name := range []string{"(request-target)", "host", "date", "digest", "x-copernica-id"} {
		all = append(all, attack{name: "cover: without " + name, before: func(c *signedCall) { c.uncover(name) }, reason: "uncovered_header"})
	}
	for _, name := range []string{"date", "digest", "x-copernica-id", "x-nonce"} {
		all = append(all,
			attack{name: "cover: absent " + name, before: func(c *signedCall) { c.remove(name) }, reason: "missing_header"},
			attack{name: "cover: removed " + name, after: func(c *signedCall) { c.remove(name) }, reason: "missing_header"},
			attack{name: "cover: repeated " + name, before: func(c *signedCall) { c.add(name, c.get(name)) }, reason: "repeated_header"},
			attack{name: "cover: added " + name, after: func(c *signedCall) { c.add(name, "other") }, reason: "repeated_header"},
			attack{name: "cover: empty " + name, before: func(c *signedCall) { c.set(name, "") }, reason: "empty_header"},
			attack{name: "cover: blank " + name, before: func(c *signedCall) { c.set(name, " \t ") }, reason: "empty_header"},
		)
	}
	return all
}

func parameterAttacks() []attack {
	format := func(parameters string) func(*signedCall) {
		return func(c *signedCall) { c.parameters = parameters }
	}
	all := []attack{
		{name: "parameters: by comma and space", before: format(`keyId="{keyId}", algorithm="{algorithm}", headers="{headers}", signature="{signature}"`)},
		{name: "parameters: by white space", before: format("keyId=\"{keyId}\" algorithm=\"{algorithm}\"\theaders=\"{headers}\"  signature=\"{signature}\"")},
		{name: "parameters: as in the sample, folded and without a comma before signature", before: format(
			"keyId=\"{keyId}\",\r\n algorithm=\"{algorithm}\",\r\n\theaders=\"{headers}\"\r\n signature=\"{signature}\"",
		)},
		{name: "parameters: by nothing", before: format(`keyId="{keyId}"algorithm="{algorithm}"headers="{headers}"signature="{signature}"`), reason: "malformed_signature"},
		{name: "parameters: by semicolons", before: format(`keyId="{keyId}";algorithm="{algorithm}";headers="{headers}";signature="{signature}"`), reason: "malformed_signature"},
		{name: "parameters: in another order", before: format(`signature="{signature}",headers="{headers}",algorithm="{algorithm}",keyId="{keyId}"`)},
		{name: "parameters: names in any case", before: format(`KEYID="{keyId}",Algorithm="{algorithm}",HeaDers="{headers}",SIGNATURE="{signature}"`)},
		{name: "parameters: one that nobody knows", before: format(`keyId="{keyId}",opaque="x",algorithm="{algorithm}",headers="{headers}",signature="{signature}"`)},
		{name: "parameters: without quotes", before: format(`keyId={keyId},algorithm="{algorithm}",headers="{headers}",signature="{signature}"`), reason: "malformed_signature"},
		{name: "parameters: an open quote", before: format(`keyId="{keyId}",algorithm="{algorithm}",headers="{headers}",signature="{signature}`), reason: "malformed_signature"},
		{name: "parameters: a scheme as in Authorization", before: format(`Signature keyId="{keyId}",algorithm="{algorithm}",headers="{headers}",signature="{signature}"`), reason: "malformed_signature"},
		{name: "parameters: none", before: format(""), reason: "missing_parameter"},
		{name: "parameters: 17 of them", before: func(c *signedCall) {
			for i := range 13 {
				c.parameters += fmt.Sprintf(`,p%d="x"`, i)
			}
		}, reason: "malformed_signature"},
		{name: "parameters: 5 KiB of them", before: func(c *signedCall) { c.parameters += `,p="` + strings.Repeat("x", 5<<10) + `"` }, reason: "malformed_signature"},
		{name: "parameters: no Signature at all", after: func(c *signedCall) { c.remove("Signature") }, reason: "missing_signature"},
		{name: "parameters: Signature twice", after: func(c *signedCall) { c.add("Signature", c.get("Signature")) }, reason: "repeated_signature"},
		{name: "names: the list in mixed case", before: func(c *signedCall) {
			c.covered = strings.Fields("(Request-Target) Host DATE Content-Length content-Type X-Copernica-ID Digest X-NONCE")
		}},
		{name: "names: the fields in any case", before: func(c *signedCall) {
			for i := range c.header {
				c.header[i][0] = strings.ToUpper(c.header[i][0])
			}
		}},
		{name: "names: signed in upper case", before: func(c *signedCall) {
			c.signed = func(lines []string) []string {
				for i, line := range lines {
					name, value, _ := strings.Cut(line, ": ")
					lines[i] = strings.ToUpper(name) + ": " + value
				}
				return lines
			}
		}, reason: "signature_mismatch"},
	}
	for _, name := range []string{"keyId", "algorithm", "headers", "signature"} {
		value := "{" + name + "}"
		quoted := name + `="` + value + `"`
		all = append(all,
			attack{name: "parameters: " + name + " twice", before: func(c *signedCall) { c.parameters += "," + quoted }, reason: "repeated_parameter"},
			attack{name: "parameters: " + name + " twice, in another case", before: func(c *signedCall) {
				c.parameters += " " + strings.ToUpper(name) + `="` + value + `"`
			}, reason: "repeated_parameter"},
			attack{name: "parameters: no " + name, before: func(c *signedCall) {
				c.parameters = strings.Replace(c.parameters, quoted, `opaque="x"`, 1)
			}, reason: "missing_parameter"},
			attack{name: "parameters: empty " + name, before: func(c *signedCall) { c.parameters = strings.Replace(c.parameters, value, "", 1) }, reason: "missing_parameter"},
		)
	}
	all = append(all, attack{
		name:   "parameters: an unknown one twice",
		before: func(c *signedCall) { c.parameters += `,opaque="x",opaque="x"` }, reason: "repeated_parameter",
	})
	now := time.Now().Unix()
	for _, parameter := range []string{
		fmt.Sprintf("created=%d", now), fmt.Sprintf("expires=%d", now+300), fmt.Sprintf("Created=%d", now), fmt.Sprintf(`expires="%d"`, now+300),
	} {
		all = append(all, attack{name: "parameters: " + strings.TrimRight(parameter, `0123456789"`), before: func(c *signedCall) { c.parameters += "," + parameter }, reason: "forbidden_parameter"})
	}
	return all
}

func algorithmAttacks() []attack {
	all := []attack{
		{name: "algorithm: RSA-SHA256", before: func(c *signedCall) { c.algorithm = "RSA-SHA256" }},
		{name: "algorithm: says SHA-256 and is SHA-1", before: func(c *signedCall) { c.hash = crypto.SHA1 }, reason: "signature_mismatch"},
		{name: "algorithm: says SHA-256 and is MD5", before: func(c *signedCall) { c.hash = crypto.MD5 }, reason: "signature_mismatch"},
		{name: "algorithm: says SHA-256 and is SHA-512", before: func(c *signedCall) { c.hash = crypto.SHA512 }, reason: "signature_mismatch"},
	}
	for _, name := range []string{"hs2019", "hmac-sha256", "hmac-sha1", "rsa-sha1", "rsa-md5", "rsa-sha512", "ecdsa-sha256", "ed25519", "none", "rsa-sha256 "} {
		all = append(all, attack{name: "algorithm: " + name, before: func(c *signedCall) { c.algorithm = name }, reason: "unsupported_algorithm"})
	}
	for _, size := range []struct {
		bits   int
		reason string
	}{
		// Of these the length of the signature alone tells.
		{512, "malformed_signature"},
		{768, "malformed_signature"},
		{1016, "malformed_signature"},
		{4104, "malformed_signature"},
		{8192, "malformed_signature"},
		// And of this the key.
		{1023, "unusable_key"},
		{1024, ""},
		{2048, ""},
		{3072, ""},
		{4096, ""},
	} {
		all = append(all, attack{name: fmt.Sprintf("size: %d bits", size.bits), bits: size.bits, before: func(c *signedCall) {
			c.keyID = sizeName(size.bits)
			if !slices.Contains(withKey, size.reason) {
				c.keyID = cold
			}
		}, reason: size.reason})
	}
	for _, bits := range []int{768, 8192} {
		all = append(all, attack{
			name:   fmt.Sprintf("size: %d bits, with a signature as long as one of 2048", bits),
			before: func(c *signedCall) { c.keyID = sizeName(bits) }, reason: "unusable_key",
		})
	}
	return all
}

func sizeName(bits int) string {
	return fmt.Sprint("bits-", bits, keySuffix)
}

func targetAttacks() []attack {
	send := func(target string) func(*signedCall) {
		return func(c *signedCall) { c.target = target }
	}
	all := []attack{
		{name: "target: with a query", before: send("/failures?a=1&b=2")},
		{name: "target: with an empty query", before: send("/failures?")},
		{name: "target: with a query in percents", before: send("/failures?a=%2f&b=%2F+%c3%28&c=%zz")},
		{name: "target: with a path in percents", before: send("/fail%75res?x=%41")},
		{name: "target: with dots that nobody resolves", before: send("/failures?../../etc/passwd")},
		{name: "target: in absolute form", before: func(c *signedCall) {
			c.signed = func(lines []string) []string {
				lines[0] = "(request-target): post /failures?a=1"
				return lines
			}
			c.target = "http://" + signedHost + "/failures?a=1"
		}},
		{name: "target: method signed in upper case", before: func(c *signedCall) {
			c.signed = func(lines []string) []string {
				lines[0] = strings.Replace(lines[0], "post", "POST", 1)
				return lines
			}
		}, reason: "signature_mismatch"},
		{name: "host: in another case", before: func(c *signedCall) { c.host = "Hooks.EXAMPLE.org" }},
		{name: "host: with the port that is listed", before: func(c *signedCall) { c.host = signedHost + ":8443" }},
		{name: "host: with a port that is not", before: func(c *signedCall) { c.host = signedHost + ":443" }, reason: "unknown_host"},
		{name: "host: of somebody else", before: func(c *signedCall) { c.host = "hooks.example.com" }, reason: "unknown_host"},
		{name: "host: below ours", before: func(c *signedCall) { c.host = "a." + signedHost }, reason: "unknown_host"},
		{name: "host: with a trailing dot", before: func(c *signedCall) { c.host = signedHost + "." }, reason: "unknown_host"},
		{name: "host: changed to another of ours", after: func(c *signedCall) { c.host = signedHost + ":8443" }, reason: "signature_mismatch"},
		{name: "host: changed to somebody else's", after: func(c *signedCall) { c.host = "hooks.example.com" }, reason: "unknown_host"},
	}
	for _, change := range []struct{ name, signed, sent string }{
		{"a query that was added", "/failures", "/failures?a=1"},
		{"an empty query that was added", "/failures", "/failures?"},
		{"a query that was taken away", "/failures?a=1", "/failures"},
		{"a query in another order", "/failures?a=1&b=2", "/failures?b=2&a=1"},
		{"percents in another case", "/failures?a=%2F", "/failures?a=%2f"},
		{"a query that was decoded", "/failures?a=%41", "/failures?a=A"},
		{"a path that was decoded", "/fail%75res", "/failures"},
		{"a path that was encoded", "/failures", "/fail%75res"},
	} {
		all = append(all, attack{
			name: "target: " + change.name, before: send(change.signed), after: send(change.sent), reason: "signature_mismatch",
		})
	}
	return all
}

func bodyAttacks() []attack {
	compressed := func(c *signedCall) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		// Neither fails in memory.
		_, _ = w.Write([]byte(c.body))
		_ = w.Close()
		return b.String()
	}
	digest := func(value func(body string) string) func(*signedCall) {
		return func(c *signedCall) { c.set("Digest", value(c.body)) }
	}
	const md5 = "MD5=1B2M2Y8AsgTpgAmY7PhCfg=="
	return []attack{
		{name: "chunked: content-length covered", before: func(c *signedCall) { c.setChunked() }},
		{name: "chunked: content-length not covered", before: func(c *signedCall) {
			c.setChunked()
			c.uncover("content-length")
		}},
		{name: "chunked: another content-length signed", before: func(c *signedCall) {
			c.setChunked()
			c.signed = func(lines []string) []string {
				for i, line := range lines {
					if strings.HasPrefix(line, "content-length: ") {
						lines[i] = line + "0"
					}
				}
				return lines
			}
		}, reason: "signature_mismatch"},
		{name: "chunked: an empty content-length signed", before: func(c *signedCall) {
			c.setChunked()
			c.signed = func(lines []string) []string {
				for i, line := range lines {
					if strings.HasPrefix(line, "content-length: ") {
						lines[i] = "content-length: "
					}
				}
				return lines
			}
		}, reason: "signature_mismatch"},
		{name: "chunked: another body", before: func(c *signedCall) { c.setChunked() }, after: func(c *signedCall) { c.body += "&x=1" }, reason: "digest_mismatch"},
		{name: "gzip: digest of what is sent", before: func(c *signedCall) {
			c.setBody(compressed(c))
			c.add("Content-Encoding", "gzip")
		}},
		{name: "gzip: and chunked", before: func(c *signedCall) {
			c.setBody(compressed(c))
			c.add("Content-Encoding", "gzip")
			c.setChunked()
		}},
		{name: "gzip: digest of what is inside", before: func(c *signedCall) {
			inside := c.get("Digest")
			c.setBody(compressed(c))
			c.set("Digest", inside)
			c.add("Content-Encoding", "gzip")
		}, reason: "digest_mismatch"},
		{name: "digest: SHA-512", before: digest(sha512Of)},
		{name: "digest: both", before: digest(func(body string) string { return sha256Of(body) + "," + sha512Of(body) })},
		{name: "digest: both, with a space", before: digest(func(body string) string { return sha512Of(body) + ", " + sha256Of(body) })},
		{name: "digest: in lower case", before: digest(func(body string) string { return strings.Replace(sha256Of(body), "SHA", "sha", 1) })},
		{name: "digest: SHA-256 good, SHA-512 of another body", before: digest(func(body string) string { return sha256Of(body) + "," + sha512Of("") }), reason: "digest_mismatch"},
		{name: "digest: SHA-256 of another body, SHA-512 good", before: digest(func(body string) string { return sha256Of("") + "," + sha512Of(body) }), reason: "digest_mismatch"},
		{name: "digest: MD5 of another body beside SHA-256", before: digest(func(body string) string { return md5 + "," + sha256Of(body) })},
		{name: "digest: MD5 alone", before: digest(func(string) string { return md5 }), reason: "unsupported_digest"},
		{name: "digest: SHA-1 alone", before: digest(func(string) string { return "SHA=2jmj7l5rSw0yVb/vlWAYkK/YBwk=" }), reason: "unsupported_digest"},
		{name: "digest: SHA-256 twice", before: digest(func(body string) string { return sha256Of("") + "," + sha256Of(body) }), reason: "repeated_digest"},
		{name: "digest: SHA-256 twice, in another case", before: digest(func(body string) string {
			return sha256Of(body) + "," + strings.Replace(sha256Of(""), "SHA", "sha", 1)
		}), reason: "repeated_digest"},
		{name: "digest: of too few bytes", before: digest(func(string) string { return "SHA-256=AAAA" }), reason: "malformed_digest"},
		{name: "digest: not padded", before: digest(func(body string) string { return strings.TrimRight(sha256Of(body), "=") }), reason: "malformed_digest"},
		{name: "digest: without a name", before: digest(func(body string) string { return strings.TrimPrefix(sha256Of(body), "SHA-256=") }), reason: "malformed_digest"},
		{name: "digest: as RFC 9530 writes it", before: digest(func(body string) string {
			return "sha-256=:" + strings.TrimPrefix(sha256Of(body), "SHA-256=") + ":"
		}), reason: "malformed_digest"},
		{name: "digest: 17 of them", before: digest(func(body string) string {
			value := sha256Of(body)
			for i := range 16 {
				value += fmt.Sprintf(",x%d=1", i)
			}
			return value
		}), reason: "malformed_digest"},
		{name: "digest: of no body", before: func(c *signedCall) { c.set("Digest", sha256Of("")) }, reason: "digest_mismatch"},
	}
}

func dateAttacks() []attack {
	all := []attack{
		{name: "date: not one", before: func(c *signedCall) { c.set("Date", "yesterday") }, reason: "malformed_date"},
		{name: "date: in seconds", before: func(c *signedCall) { c.set("Date", fmt.Sprint(time.Now().Unix())) }, reason: "malformed_date"},
		{name: "date: as ISO 8601", before: func(c *signedCall) { c.set("Date", time.Now().UTC().Format(time.RFC3339)) }, reason: "malformed_date"},
		{name: "date: in a zone by name", before: func(c *signedCall) { c.set("Date", time.Now().Format("Mon, 02 Jan 2006 15:04:05 ")+"PST") }, reason: "malformed_date"},
		{name: "date: made new", before: func(c *signedCall) {
			c.set("Date", time.Now().Add(-time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"))
		}, after: func(c *signedCall) {
			c.set("Date", time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"))
		}, reason: "signature_mismatch"},
	}
	east := time.FixedZone("", 2*60*60)
	for _, form := range []struct {
		name, layout string
		zone         *time.Location
	}{
		{"as HTTP writes it", "Mon, 02 Jan 2006 15:04:05 GMT", time.UTC},
		{"with one digit for the day", "Mon, 2 Jan 2006 15:04:05 GMT", time.UTC},
		{"RFC 850", "Monday, 02-Jan-06 15:04:05 GMT", time.UTC},
		{"asctime", "Mon Jan _2 15:04:05 2006", time.UTC},
		{"RFC 2822", "Mon, 02 Jan 2006 15:04:05 -0700", time.UTC},
		{"RFC 2822 east of Greenwich", "Mon, 02 Jan 2006 15:04:05 -0700", east},
		{"RFC 822", "Mon, 02 Jan 06 15:04:05 -0700", time.UTC},
		{"RFC 822 east of Greenwich", "Mon, 02 Jan 06 15:04:05 -0700", east},
		{"RFC 822 with GMT", "Mon, 02 Jan 06 15:04:05 GMT", time.UTC},
	} {
		for _, age := range []struct {
			name   string
			age    time.Duration
			reason string
		}{
			{"now", 0, ""},
			{"almost max_age old", 5*time.Minute - 15*time.Second, ""},
			{"more than max_age old", 5*time.Minute + 2*time.Second, "old"},
			{"a year old", 365 * 24 * time.Hour, "old"},
			{"not a minute ahead", -45 * time.Second, ""},
			{"more than a minute ahead", -65 * time.Second, "future"},
			{"a year ahead", -365 * 24 * time.Hour, "future"},
		} {
			all = append(all, attack{name: "date: " + form.name + ", " + age.name, before: func(c *signedCall) {
				c.set("Date", time.Now().Add(-age.age).In(form.zone).Format(form.layout))
			}, reason: age.reason})
		}
	}
	return all
}

func keyNameAttacks() []attack {
	all := []attack{{name: "keyId: in another case", before: func(c *signedCall) { c.keyID = "ONE._DomainKey.Copernica.COM" }}}
	for _, name := range []string{
		"evil.com/.copernica.com",
		"evil.com/._domainkey.copernica.com",
		"evil.com#._domainkey.copernica.com",
		"a.b._domainkey.copernica.com",
		"one._domainkey.copernica.com.evil.com",
		"one._domainkey.copernica.com.",
		".one._domainkey.copernica.com",
		"one.._domainkey.copernica.com",
		"._domainkey.copernica.com",
		"_domainkey.copernica.com",
		"one.copernica.com",
		"copernica.com",
		"one._domainkey.evil.com",
		"one._domainkey.evilcopernica.com",
		"one._domainkey.evil-copernica.com",
		"one_domainkey.copernica.com",
		"one._domainkey.copernica.com@evil.com",
		"one._domainkey.copernica.com evil.com",
		" one._domainkey.copernica.com",
		"one._domainkey.copernica.com ",
		`one\._domainkey.copernica.com`,
		"o%6ee._domainkey.copernica.com",
		"*._domainkey.copernica.com",
		"-one._domainkey.copernica.com",
		"one-._domainkey.copernica.com",
		"öne._domainkey.copernica.com",
		"one._domainkey.copernıca.com",
		"one._domain\u212aey.copernica.com", // the sign for kelvin, which is a k in lower case
		"127.0.0.1",
		strings.Repeat("a", 64) + "._domainkey.copernica.com",
	} {
		all = append(all, attack{name: "keyId: " + strings.ReplaceAll(name, "/", "|"), before: func(c *signedCall) { c.keyID = name }, reason: "unknown_selector"})
	}
	return all
}

func contentAttacks() []attack {
	account := func(id string) func(*signedCall) {
		return func(c *signedCall) { c.set("X-Copernica-ID", id) }
	}
	signature := func(change func(string) string) func(*signedCall) {
		return func(c *signedCall) {
			before, value, _ := strings.Cut(c.get("Signature"), `signature="`)
			c.set("Signature", before+`signature="`+change(strings.TrimSuffix(value, `"`))+`"`)
		}
	}
	all := []attack{
		{name: "account: another of ours", before: account("account-1234")},
		{name: "account: changed to another of ours", after: account("account-1234"), reason: "signature_mismatch"},
		{name: "content: body changed", after: func(c *signedCall) { c.body = strings.Replace(c.body, "code=550", "code=250", 1) }, reason: "digest_mismatch"},
		{name: "content: one bit of the body", after: func(c *signedCall) { c.body = "h" + c.body[1:] }, reason: "digest_mismatch"},
		{name: "content: body shortened", after: func(c *signedCall) {
			c.body = c.body[:len(c.body)-1]
			c.set("Content-Length", fmt.Sprint(len(c.body)))
		}, reason: "signature_mismatch"},
		{name: "content: body and digest changed", after: func(c *signedCall) {
			c.body = strings.Replace(c.body, "code=550", "code=250", 1)
			c.set("Digest", sha256Of(c.body))
		}, reason: "signature_mismatch"},
		{name: "content: digest added", after: func(c *signedCall) { c.set("Digest", c.get("Digest")+","+sha512Of(c.body)) }, reason: "signature_mismatch"},
		{name: "content: nonce changed", after: func(c *signedCall) { c.set("X-Nonce", "other") }, reason: "signature_mismatch"},
		{name: "content: type changed", after: func(c *signedCall) { c.set("Content-Type", "application/json") }, reason: "signature_mismatch"},
		{name: "content: signed by another key", before: func(c *signedCall) { c.key = nil }, reason: "signature_mismatch"},
		{name: "content: list in another order than signed", after: func(c *signedCall) {
			c.set("Signature", strings.Replace(c.get("Signature"), "host date", "date host", 1))
		}, reason: "signature_mismatch"},
		{name: "content: list without one that was signed", after: func(c *signedCall) {
			c.set("Signature", strings.Replace(c.get("Signature"), " x-nonce", "", 1))
		}, reason: "signature_mismatch"},
		{name: "signature: one bit", after: signature(func(s string) string {
			raw, _ := base64.StdEncoding.DecodeString(s)
			raw[len(raw)/2] ^= 1
			return base64.StdEncoding.EncodeToString(raw)
		}), reason: "signature_mismatch"},
		{name: "signature: all zero", after: signature(func(string) string { return base64.StdEncoding.EncodeToString(make([]byte, 256)) }), reason: "signature_mismatch"},
		{name: "signature: of another size", after: signature(func(string) string { return base64.StdEncoding.EncodeToString(make([]byte, 128)) }), reason: "signature_mismatch"},
		{name: "signature: with spaces where it was folded", after: signature(func(s string) string { return s[:64] + " " + s[64:128] + " \t" + s[128:] })},
		{name: "signature: folded", after: signature(func(s string) string { return s[:64] + "\r\n " + s[64:] })},
		{name: "signature: not padded", after: signature(func(s string) string { return strings.TrimRight(s, "=") }), reason: "malformed_signature"},
		{name: "signature: not base64", after: signature(func(s string) string { return "!" + s[1:] }), reason: "malformed_signature"},
		{name: "signature: for URLs", after: signature(func(s string) string { return "-_" + s[2:] }), reason: "malformed_signature"},
	}
	for _, id := range []string{
		"environment-12345", "environment-123", "Environment-1234", "environment_1234", "environment-1234,account-1234", "account-9", "1234", "environment-*", `"environment-1234"`,
	} {
		all = append(all, attack{name: "account: " + id, before: account(id), reason: "unknown_account"})
	}
	return all
}

// TestSignatureAttacks makes every attack on one collector. Each is refused for its reason and no other, all with the same bytes, and what is let
// in is there once.
func TestSignatureAttacks(t *testing.T) {
	all := attacks()
	servers := startNameServer(t)
	expected := []string{goodName}
	for _, bits := range []int{768, 1023, 1024, 2048, 3072, 4096, 8192} {
		servers.set(sizeName(bits), texts(keyRecord(t, keyOf(t, bits, ""))))
		expected = append(expected, sizeName(bits))
	}
	for _, name := range []string{goodName, cold} {
		servers.set(name, texts(keyRecord(t, goodKey(t))))
	}
	c, address := startSigned(t, servers.address)
	p := &prosecutor{collector: c, address: address}

	for i, a := range all {
		t.Run(a.name, func(t *testing.T) {
			call := newSignedCall(goodKey(t), fmt.Sprint("private-id-", i))
			if !slices.Contains(withKey, a.reason) {
				call.keyID = cold
			}
			if a.bits != 0 {
				call.key = keyOf(t, a.bits, "")
			}
			if a.before != nil {
				a.before(call)
			}
			if call.key == nil {
				call.key = keyOf(t, 2048, "another")
			}
			call.add("Connection", "close")
			call.sign(t)
			if a.after != nil {
				a.after(call)
			}
			p.try(t, call, fmt.Sprint("private-id-", i), a)
		})
	}
	t.Run("a repeat within the window is absorbed", func(t *testing.T) {
		call := newSignedCall(goodKey(t), "private-id-again")
		call.add("Connection", "close")
		call.sign(t)
		p.try(t, call, "private-id-again", attack{})
		for range 3 {
			p.repeat(t, call)
		}
		body := call.body
		call = newSignedCall(goodKey(t), "")
		call.setBody(body)
		call.add("Connection", "close")
		call.sign(t)
		p.repeat(t, call)
	})
	t.Run("only what was let in is there, and once", p.checkRecords)
	t.Run("no other name was looked up", func(t *testing.T) {
		asked := servers.names()
		for _, name := range asked {
			if !slices.Contains(expected, name) {
				t.Errorf("%s was looked up", name)
			}
		}
		t.Logf("looked up: %s", strings.Join(asked, " "))
	})
	t.Run("nothing of a call is in the output", p.checkOutput)
}

// prosecutor sends calls to a collector and holds it to what they are.
type prosecutor struct {
	collector *collector
	address   string
	// letIn are the message ids of the calls that were let in.
	letIn []string
}

// try sends a call.
func (p *prosecutor) try(t *testing.T, call *signedCall, id string, a attack) {
	t.Helper()
	reasons, outcomes := tally{}, tally{"accepted": 1}
	want := accepted
	switch {
	case a.reason != "":
		want = refused
		reasons, outcomes = tally{a.reason: 1}, tally{"unauthorized": 1}
	case a.status != 0:
		outcomes = tally{}
	default:
		p.letIn = append(p.letIn, id)
	}
	p.send(t, call, want, a.status, reasons, outcomes)
}

// repeat sends a call of which a copy was let in.
func (p *prosecutor) repeat(t *testing.T, call *signedCall) {
	t.Helper()
	p.send(t, call, accepted, 0, tally{}, tally{"duplicate": 1})
}

func (p *prosecutor) send(t *testing.T, call *signedCall, want reply, status int, reasons, outcomes tally) {
	t.Helper()
	reasonsBefore, outcomesBefore := tallyOf(t, p.collector, refusalsMetric), tallyOf(t, p.collector, requestsMetric)
	got, err := exchangeOnce(p.address, call.raw())
	if err != nil {
		t.Fatal(err)
	}
	if status != 0 {
		if got.status != status {
			t.Errorf("answered with %d, want %d", got.status, status)
		}
	} else if got != want {
		t.Errorf("answered with\n%+v\nwant\n%+v", got, want)
	}
	if got := tallyOf(t, p.collector, refusalsMetric).since(reasonsBefore); !maps.Equal(got, reasons) {
		t.Errorf("refused for %v, want %v", got, reasons)
	}
	if got := tallyOf(t, p.collector, requestsMetric).since(outcomesBefore); !maps.Equal(got, outcomes) {
		t.Errorf("counted as %v, want %v", got, outcomes)
	}
}

// checkRecords checks that what was let in, and nothing else, is there once.
func (p *prosecutor) checkRecords(t *testing.T) {
	var records []record
	p.collector.eventually(t, fmt.Sprintf("the log file holds %d records", len(p.letIn)), func() bool {
		records = readRecords(t, p.collector.logFile)
		return len(records) >= len(p.letIn)
	})
	// What should not be there would come a moment later.
	time.Sleep(time.Second)
	got := make(map[string]int)
	for _, r := range readRecords(t, p.collector.logFile) {
		attributes := r.Attributes.byName()
		got[fmt.Sprint(attributes["email.message.id"])]++
		if account := attributes["copernica.account.id"]; account != signedAccount && account != "account-1234" {
			t.Errorf("copernica.account.id is %v", account)
		}
	}
	want := make(map[string]int)
	for _, id := range p.letIn {
		want[id]++
	}
	if !maps.Equal(got, want) {
		t.Errorf("the records are\n%v\nwant\n%v", got, want)
	}
}

// checkOutput checks that the collector wrote nothing of any call on the console, and why it refused them all the same.
func (p *prosecutor) checkOutput(t *testing.T) {
	output := p.collector.output.String()
	for _, part := range []string{"private", "%40", "evil", "_domainkey", "environment-", "rsa-sha256", "SHA-256=", "\x1b"} {
		if i := strings.Index(output, part); i >= 0 {
			t.Errorf("%q is in the output: %s", part, output[max(0, i-200):min(len(output), i+200)])
		}
	}
	if !strings.Contains(output, "A call was refused: ") {
		t.Error("the output does not say why calls were refused")
	}
}

// TestSignatureBehindAProxy signs paths with what a proxy takes off, for any host.
func TestSignatureBehindAProxy(t *testing.T) {
	servers := startNameServer(t)
	servers.set(goodName, texts(keyRecord(t, goodKey(t))))
	c, address := startSigned(t, servers.address,
		"--set", "receivers::smtp_failure::signature::signed_path_prefix=/hooks",
		"--set", "receivers::smtp_failure::signature::hosts=[]")
	p := &prosecutor{collector: c, address: address}
	for i, a := range []struct {
		name, signed, sent, host, reason string
	}{
		{"signed with the prefix", "/hooks/failures", "/failures", signedHost, ""},
		{"with a query", "/hooks/failures?a=%2f", "/failures?a=%2f", signedHost, ""},
		{"with any host", "/hooks/failures", "/failures", "anything.example:1", ""},
		{"signed without the prefix", "/failures", "/failures", signedHost, "signature_mismatch"},
		{"signed with another prefix", "/other/failures", "/failures", signedHost, "signature_mismatch"},
		{"signed with the prefix twice", "/hooks/hooks/failures", "/failures", signedHost, "signature_mismatch"},
		{"signed with the prefix encoded", "/h%6foks/failures", "/failures", signedHost, "signature_mismatch"},
	} {
		t.Run(a.name, func(t *testing.T) {
			id := fmt.Sprint("private-proxy-", i)
			call := newSignedCall(goodKey(t), id)
			call.target, call.host = a.signed, a.host
			call.add("Connection", "close")
			call.sign(t)
			call.target = a.sent
			p.try(t, call, id, attack{reason: a.reason})
		})
	}
	t.Run("the prefix itself is no path here", func(t *testing.T) {
		call := newSignedCall(goodKey(t), "private-proxy-404")
		call.target = "/hooks/failures"
		call.add("Connection", "close")
		call.sign(t)
		if got, err := exchangeOnce(address, call.raw()); err != nil || got.status != 404 {
			t.Errorf("answered with %d, %v, want 404", got.status, err)
		}
	})
	t.Run("only what was let in is there, and once", p.checkRecords)
}

// dnsCase is what the DNS says of a name, and what a call gets that is signed with the good key.
type dnsCase struct {
	name    string
	answer  dnsAnswer
	want    reply
	reason  string
	lookup  string // what became of the lookup
	overTCP bool
}

func dnsCases(t *testing.T) []dnsCase {
	t.Helper()
	good := keyRecord(t, goodKey(t))
	other := keyRecord(t, keyOf(t, 2048, "another"))
	const revoked = "v=DKIM1; k=rsa; p="
	return []dnsCase{
		{name: "healthy", answer: texts(good), want: accepted, lookup: "found"},
		{name: "split TXT", answer: splitTexts(parts(good, 50)), want: accepted, lookup: "found"},
		{name: "split TXT, one byte each", answer: splitTexts(parts(good, 2)), want: accepted, lookup: "found"},
		{name: "several records", answer: texts("v=spf1 -all", other, good), want: accepted, lookup: "found"},
		{name: "several records, one revoked", answer: texts(revoked, good), want: accepted, lookup: "found"},
		{name: "several records, split", answer: splitTexts(parts(other, 99), parts(good, 99)), want: accepted, lookup: "found"},
		{name: "truncated to TCP", answer: truncated(texts(good)), want: accepted, lookup: "found", overTCP: true},
		{name: "too large for UDP", answer: texts(strings.Repeat("x", 1500), good), want: accepted, lookup: "found", overTCP: true},
		{name: "another key", answer: texts(other), want: refused, reason: "signature_mismatch", lookup: "found"},
		{name: "NXDOMAIN", answer: withCode(dns.RcodeNameError), want: refused, reason: "no_key", lookup: "absent"},
		{name: "no TXT", answer: withCode(dns.RcodeSuccess), want: refused, reason: "no_key", lookup: "absent"},
		{name: "revoked", answer: texts(revoked), want: refused, reason: "revoked_key", lookup: "revoked"},
		{name: "no key", answer: texts("v=spf1 -all"), want: refused, reason: "unusable_key", lookup: "unusable"},
		{name: "another version", answer: texts(strings.Replace(good, "DKIM1", "DKIM2", 1)), want: refused, reason: "unusable_key", lookup: "unusable"},
		{name: "another type", answer: texts(strings.Replace(good, "k=rsa", "k=ed25519", 1)), want: refused, reason: "unusable_key", lookup: "unusable"},
		{name: "only for SHA-1", answer: texts(strings.Replace(good, "k=rsa", "k=rsa; h=sha1", 1)), want: refused, reason: "unusable_key", lookup: "unusable"},
		{name: "SERVFAIL", answer: withCode(dns.RcodeServerFailure), want: keyUnavailable, lookup: "failed"},
		{name: "REFUSED", answer: withCode(dns.RcodeRefused), want: keyUnavailable, lookup: "failed"},
		{name: "NOTIMP", answer: withCode(dns.RcodeNotImplemented), want: keyUnavailable, lookup: "failed"},
		{name: "timeout", answer: silent, want: keyUnavailable, lookup: "timeout"},
		{name: "timeout over TCP", answer: truncated(silent), want: keyUnavailable, lookup: "timeout", overTCP: true},
	}
}

// TestSignatureDNS has the DNS answer in every way, for names that were never asked for and for those whose key was good.
func TestSignatureDNS(t *testing.T) {
	servers := startNameServer(t)
	c, address := startSigned(t, servers.address)
	p := &prosecutor{collector: c, address: address}
	good, fresh := goodKey(t), keyOf(t, 2048, "another")
	goodRecord, freshRecord := keyRecord(t, good), keyRecord(t, fresh)

	ids := 0
	signed := func(t *testing.T, name string, key signingKey) (call *signedCall, id string) {
		t.Helper()
		ids++
		id = fmt.Sprint("private-dns-", ids)
		call = newSignedCall(key, id)
		call.keyID = name
		call.add("Connection", "close")
		call.sign(t)
		return call, id
	}
	expect := func(t *testing.T, name string, key signingKey, want reply, reason, lookup string) {
		t.Helper()
		call, id := signed(t, name, key)
		before := tallyOf(t, c, lookupsMetric)
		switch want {
		case keyUnavailable:
			p.send(t, call, want, 0, tally{}, tally{"key_unavailable": 1})
		default:
			p.try(t, call, id, attack{reason: reason})
		}
		lookups := tally{}
		if lookup != "" {
			lookups[lookup] = 1
		}
		if got := tallyOf(t, c, lookupsMetric).since(before); !maps.Equal(got, lookups) {
			t.Errorf("looked up with %v, want %v", got, lookups)
		}
	}

	for i, test := range dnsCases(t) {
		t.Run(test.name, func(t *testing.T) {
			name := fmt.Sprint("case-", i, keySuffix)
			servers.set(name, test.answer)
			expect(t, name, good, test.want, test.reason, test.lookup)
			if servers.count(name, "udp") == 0 {
				t.Errorf("%s was not asked for over UDP", name)
			}
			if got := servers.count(name, "tcp") > 0; got != test.overTCP {
				t.Errorf("%s was asked for over TCP: %v, want %v", name, got, test.overTCP)
			}
		})
	}

	t.Run("a key is looked up once", func(t *testing.T) {
		const name = "once" + keySuffix
		servers.set(name, texts(goodRecord))
		expect(t, name, good, accepted, "", "found")
		for range 20 {
			expect(t, name, good, accepted, "", "")
		}
		if n := servers.count(name); n != 1 {
			t.Errorf("asked for %d times, want once", n)
		}
	})
	t.Run("by calls at once too", func(t *testing.T) {
		const name = "at-once" + keySuffix
		servers.set(name, func(network string, message *dns.Msg) bool {
			time.Sleep(300 * time.Millisecond) // long enough for all the calls to ask while the first waits
			return texts(goodRecord)(network, message)
		})
		p.together(t, 40, func() (*signedCall, string) { return signed(t, name, good) })
		if n := servers.count(name); n != 1 {
			t.Errorf("asked for %d times, want once", n)
		}
	})
	t.Run("an absence is remembered", func(t *testing.T) {
		const name = "absent" + keySuffix
		expect(t, name, good, refused, "no_key", "absent")
		for range 5 {
			expect(t, name, good, refused, "no_key", "")
		}
		if n := servers.count(name); n != 1 {
			t.Errorf("asked for %d times, want once", n)
		}
	})
	t.Run("rotation in mid-run", func(t *testing.T) {
		const name = "rotated" + keySuffix
		servers.set(name, texts(goodRecord))
		expect(t, name, good, accepted, "", "found")
		servers.set(name, texts(freshRecord))
		expect(t, name, good, accepted, "", "") // until it is asked for again
		p.together(t, 20, func() (*signedCall, string) { return signed(t, name, fresh) })
		if n := servers.count(name); n != 2 {
			t.Errorf("asked for %d times, want twice", n)
		}
		expect(t, name, fresh, accepted, "", "")
		// Who does not know the key can have it asked for four times a second.
		began := time.Now()
		for range 3 {
			expect(t, name, good, refused, "signature_mismatch", "found")
		}
		if n, most := servers.count(name), 3+int(4*time.Since(began)/time.Second); n > most {
			t.Errorf("asked for %d times, want at most %d", n, most)
		}
	})
	t.Run("rotation with both keys for a while", func(t *testing.T) {
		const name = "both" + keySuffix
		servers.set(name, texts(goodRecord, freshRecord))
		expect(t, name, good, accepted, "", "found")
		expect(t, name, fresh, accepted, "", "")
	})
	// What follows has a key asked for again by a call that does not match it.
	for _, trouble := range []struct {
		name   string
		answer dnsAnswer
		lookup string
	}{
		{"SERVFAIL", withCode(dns.RcodeServerFailure), "failed"},
		{"REFUSED", withCode(dns.RcodeRefused), "failed"},
		{"timeout", silent, "timeout"},
	} {
		t.Run(trouble.name+" after the key was good", func(t *testing.T) {
			name := "then-" + strings.ToLower(trouble.name) + keySuffix
			servers.set(name, texts(goodRecord))
			expect(t, name, good, accepted, "", "found")
			servers.set(name, trouble.answer)
			expect(t, name, fresh, keyUnavailable, "", trouble.lookup)
			expect(t, name, good, accepted, "", "")
		})
	}
	t.Run("NXDOMAIN after the key was good", func(t *testing.T) {
		const name = "then-absent" + keySuffix
		servers.set(name, texts(goodRecord))
		expect(t, name, good, accepted, "", "found")
		servers.set(name, withCode(dns.RcodeNameError))
		expect(t, name, fresh, keyUnavailable, "", "absent")
		expect(t, name, good, keyUnavailable, "", "")
	})
	t.Run("revoked after the key was good", func(t *testing.T) {
		const name = "then-revoked" + keySuffix
		servers.set(name, texts(goodRecord))
		expect(t, name, good, accepted, "", "found")
		servers.set(name, texts("v=DKIM1; p="))
		expect(t, name, fresh, refused, "revoked_key", "revoked")
		expect(t, name, good, refused, "revoked_key", "")
	})
	t.Run("made-up names do not push out a good one", func(t *testing.T) {
		const name, madeUp = "good" + keySuffix, 100
		servers.set(name, texts(goodRecord))
		expect(t, name, good, accepted, "", "found")
		before := tallyOf(t, c, lookupsMetric)
		statuses := make(map[int]int)
		for i := range madeUp {
			made := fmt.Sprint("made-up-", i, keySuffix)
			servers.set(made, texts(goodRecord))
			call, _ := signed(t, made, fresh)
			got, err := exchangeOnce(address, call.raw())
			if err != nil {
				t.Fatal(err)
			}
			if got != refused && got != keyUnavailable {
				t.Errorf("answered with %+v", got)
			}
			statuses[got.status]++
		}
		t.Logf("%d made-up names: answers %v, lookups %v", madeUp, statuses, tallyOf(t, c, lookupsMetric).since(before))
		expect(t, name, good, accepted, "", "")
		if n := servers.count(name); n != 1 {
			t.Errorf("asked for %d times, want once", n)
		}
	})
	t.Run("the DNS is down", func(t *testing.T) {
		const name = "good" + keySuffix
		servers.stop()
		expect(t, name, fresh, keyUnavailable, "", "failed")
		expect(t, name, good, accepted, "", "")
		expect(t, "unknown"+keySuffix, good, keyUnavailable, "", "failed")
	})
	t.Run("only what was let in is there, and once", p.checkRecords)
	t.Run("only absolute names below copernica.com were looked up", func(t *testing.T) {
		for _, name := range servers.names() {
			if !strings.HasSuffix(name, keySuffix) {
				t.Errorf("%s was looked up", name)
			}
		}
	})
	t.Run("nothing of a call is in the output", p.checkOutput)
}

// together sends calls at once, all of which are let in.
func (p *prosecutor) together(t *testing.T, n int, next func() (call *signedCall, id string)) {
	t.Helper()
	var group sync.WaitGroup
	for range n {
		call, id := next()
		p.letIn = append(p.letIn, id)
		group.Go(func() {
			if got, err := exchangeOnce(p.address, call.raw()); err != nil || got != accepted {
				t.Errorf("answered with %+v, %v", got, err)
			}
		})
	}
	group.Wait()
}

// TestSignatureReasons checks that the tables above have every reason for which a call is refused.
func TestSignatureReasons(t *testing.T) {
	source, err := os.ReadFile(root + "/internal/signature/refusal.go")
	if err != nil {
		t.Fatal(err)
	}
	tried := make(map[string]bool)
	for _, a := range attacks() {
		tried[a.reason] = true
	}
	for _, test := range dnsCases(t) {
		tried[test.reason] = true
	}
	// net/http lets no such target through, and there is no middleware.
	tried["malformed_target"], tried["not_checked"] = true, true
	all := regexp.MustCompile(`Reason\w+ += "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	if len(all) == 0 {
		t.Fatal("there are no reasons in refusal.go")
	}
	for _, match := range all {
		if !tried[match[1]] {
			t.Errorf("no attack is refused for %s", match[1])
		}
	}
}
