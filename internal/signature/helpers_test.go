package signature

import (
	"bufio"
	"context"
	"crypto/rsa"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/signature/signaturetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const goodName = signaturetest.KeyName

var signedAt = time.Date(2026, time.November, 21, 10, 15, 0, 0, time.UTC)

func goodKey() *rsa.PrivateKey  { return signaturetest.Key(1024, "good") }
func otherKey() *rsa.PrivateKey { return signaturetest.Key(1024, "other") }

// keyRecord returns the record of a key with replacements, which are pairs of old and new text.
func keyRecord(key *rsa.PrivateKey, oldNew ...string) string {
	return strings.NewReplacer(oldNew...).Replace(signaturetest.KeyRecord(key))
}

// newRequest returns a request made at signedAt, which is not signed yet.
func newRequest(key *rsa.PrivateKey) *signaturetest.Request {
	r := signaturetest.NewRequest(key, "id=1&recipient=a%40example.org")
	r.Target = "/failures?a=%2F"
	r.Set("Date", signedAt.Format(http.TimeFormat))
	return r
}

// parse returns the request as net/http reads it.
func parse(tb testing.TB, r *signaturetest.Request) *http.Request {
	tb.Helper()
	parsed, err := http.ReadRequest(bufio.NewReader(strings.NewReader(r.Raw())))
	require.NoError(tb, err)
	return parsed
}

// unparsed returns the request without reading it, for values that net/http refuses.
func unparsed(r *signaturetest.Request) *http.Request {
	return &http.Request{
		Method: r.Method, RequestURI: r.Target, Host: r.Host, Header: r.Header,
		Body: io.NopCloser(strings.NewReader(r.Body)),
	}
}

// fakeDNS is a resolver that has goodKey at goodName.
type fakeDNS struct {
	mu      sync.Mutex
	records map[string][]string
	err     error                                  // of goodName
	hook    func(ctx context.Context, name string) // called between question and answer
	asked   map[string]int
	current int
	peak    int // of lookups at once
}

func newFakeDNS() *fakeDNS {
	d := &fakeDNS{records: make(map[string][]string), asked: make(map[string]int)}
	d.set(goodName, keyRecord(goodKey()))
	return d
}

func (d *fakeDNS) LookupTXT(ctx context.Context, name string) ([]string, error) {
	name, absolute := strings.CutSuffix(name, ".")
	if !absolute {
		return nil, errors.New("the search list would be tried")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[name]++
	d.current++
	d.peak = max(d.peak, d.current)
	records := d.records[name]
	if hook := d.hook; hook != nil {
		d.mu.Unlock()
		hook(ctx, name)
		d.mu.Lock()
	}
	d.current--
	switch err := ctx.Err(); {
	case err != nil:
		return nil, &net.DNSError{Err: err.Error(), Name: name, IsTimeout: errors.Is(err, context.DeadlineExceeded)}
	case d.err != nil && name == goodName:
		return nil, d.err
	case len(records) == 0:
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return records, nil
}

// set sets the records of a name, which does not exist if there are none, and ends fail.
func (d *fakeDNS) set(name string, records ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records[name], d.err = records, nil
}

// fail has lookups of goodName fail.
func (d *fakeDNS) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func (d *fakeDNS) setHook(hook func(ctx context.Context, name string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = hook
}

// count returns how often names were asked for: all, or one.
func (d *fakeDNS) count(names ...string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for asked, times := range d.asked {
		if len(names) == 0 || asked == names[0] {
			n += times
		}
	}
	return n
}

// fixture is a verifier with its DNS, and what it calls back with.
type fixture struct {
	*Verifier

	dns      *fakeDNS
	mu       sync.Mutex
	outcomes map[string]int // of lookups
	known    [][]string     // all that OnKnownKeys was called with
}

// newFixture returns a fixture with the clock at signedAt.
func newFixture(tb testing.TB, change ...func(*Options)) *fixture {
	tb.Helper()
	f := &fixture{dns: newFakeDNS(), outcomes: make(map[string]int)}
	o := Options{
		Accounts: []string{signaturetest.Account},
		Hosts:    []string{signaturetest.Host},
		MaxAge:   DefaultMaxAge,
		Resolver: f.dns,
		Now:      func() time.Time { return signedAt },
		Observe: func(outcome string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.outcomes[outcome]++
		},
		OnKnownKeys: func(names []string) { f.known = append(f.known, names) },
	}
	for _, f := range change {
		f(&o)
	}
	f.Verifier = NewVerifier(o)
	tb.Cleanup(f.Close)
	return f
}

// looked returns how often lookups ended in which way.
func (f *fixture) looked() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.outcomes)
}

// newVectorFixture returns a fixture for the vectors, at their time.
func newVectorFixture(tb testing.TB) (*fixture, signaturetest.Vectors) {
	tb.Helper()
	v := signaturetest.ReadVectors("../../testdata/vectors/signature.json")
	require.NotEmpty(tb, v.Requests)
	f := newFixture(tb, func(o *Options) { o.Now = func() time.Time { return v.Date } })
	f.dns.set(v.KeyName, v.KeyRecord)
	return f, v
}

// check checks a whole call and returns the outcome.
func (f *fixture) check(r *http.Request) string {
	c, err := f.Begin(r)
	if err == nil {
		_, err = c.Finish(r.Context())
	}
	return outcomeOf(err)
}

// send checks a call that is signed now.
func (f *fixture) send(tb testing.TB, keyID string, key *rsa.PrivateKey) string {
	tb.Helper()
	r := newRequest(key)
	r.KeyID = keyID
	r.Set("Date", f.options.Now().UTC().Format(http.TimeFormat))
	return f.check(parse(tb, r.Sign()))
}

// Outcomes beside the reasons of a Refusal.
const (
	accepted       = ""
	keyUnavailable = "key unavailable"
)

// outcomeOf returns an outcome, or the text of any other error.
func outcomeOf(err error) string {
	refusal, refused := err.(*Refusal) //nolint:errorlint // It must not be wrapped.
	switch {
	case err == nil:
		return accepted
	case refused:
		return refusal.Reason
	case errors.Is(err, ErrKeyUnavailable) && !errors.As(err, new(*Refusal)):
		return keyUnavailable
	default:
		return err.Error()
	}
}
