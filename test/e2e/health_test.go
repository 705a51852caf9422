package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestHealth has health_check tell that the keys of signatures cannot be looked up, and that they can be again.
func TestHealth(t *testing.T) {
	const name = "one._domainkey.copernica.com"
	servers := startNameServer(t)
	health := freeAddress(t)
	t.Setenv("HEALTH", health)
	c, address := startSigned(t, servers.address, "--config", "testdata/health.yaml", "--feature-gates=+extension.healthcheck.useComponentStatus")

	status := func() (int, string) {
		response, err := http.Get("http://" + health + "/?verbose")
		if err != nil {
			return 0, ""
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	becomes := func(want int, containing string) {
		t.Helper()
		c.eventually(t, "health_check answers "+http.StatusText(want)+" "+containing, func() bool {
			got, body := status()
			return got == want && strings.Contains(body, containing)
		})
	}
	call := func(id string) reply {
		t.Helper()
		signed := newSignedCall(goodKey(t), id)
		signed.keyID = name
		signed.add("Connection", "close")
		signed.sign(t)
		got, err := exchangeOnce(address, signed.raw())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	becomes(http.StatusOK, "StatusOK")

	servers.set(name, withCode(dns.RcodeServerFailure))
	if got := call("health-1"); got.status != http.StatusServiceUnavailable {
		t.Fatalf("without the DNS: %+v", got)
	}
	becomes(http.StatusInternalServerError, "the DNS does not answer for the keys of signatures")

	servers.set(name, texts(keyRecord(t, goodKey(t))))
	// That a lookup failed is remembered for two seconds.
	c.eventually(t, "the call is let in", func() bool { return call("health-1").status == http.StatusOK })
	becomes(http.StatusOK, "StatusOK")
	for _, message := range []string{"The keys of signatures cannot be looked up", "The keys of signatures can be looked up again"} {
		if n := strings.Count(c.output.String(), message); n != 1 {
			t.Errorf("%q is logged %d times", message, n)
		}
	}
}
