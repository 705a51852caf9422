package webhook

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRecipient(t *testing.T) {
	label := strings.Repeat("a", 63)
	long := strings.Repeat(label+".", 3) + strings.Repeat("b", 61)
	for _, tc := range []struct{ recipient, address, domain string }{
		{"", "", ""},
		{"jane@example.com", "jane@example.com", "example.com"},
		{"Jane@Example.COM", "jane@example.com", "example.com"},
		{"jane.doe+news_1@mail-1.acme_x.example", "jane.doe+news_1@mail-1.acme_x.example", "mail-1.acme_x.example"},

		{"Jane Doe <jane@example.com>", "jane@example.com", "example.com"},
		{`"Doe, Jane" <jane@example.com>`, "jane@example.com", "example.com"},
		{"=?utf-8?q?Jan=C3=A9?= <jane@example.com>", "jane@example.com", "example.com"},
		{"<jane@example.com>", "jane@example.com", "example.com"},
		{"jane@example.com (at home)", "jane@example.com", "example.com"},
		{"jane @ example.com", "jane@example.com", "example.com"},
		{"jane@example.com.", "jane@example.com", "example.com"},
		{"<jane@example.com>;", "jane@example.com", "example.com"},
		{"undisclosed: jane@example.com;", "jane@example.com", "example.com"},

		// What net/mail refuses.
		{"jane..doe@example.com", "jane..doe@example.com", "example.com"},
		{"jane.@example.com", "jane.@example.com", "example.com"},
		{"jane@example.com, piet@example.net", "jane@example.com", "example.com"},
		{"Jane Doe jane@example.com", "jane@example.com", "example.com"},
		{"<jane@example.com", "jane@example.com", "example.com"},
		{"jane@example.com>", "jane@example.com", "example.com"},
		{"mailto:jane@example.com", "jane@example.com", "example.com"},
		{"rfc822;jane@example.com", "jane@example.com", "example.com"},
		{"jane%40example.com", "jane@example.com", "example.com"},
		{"jane@piet@example.com", "jane@piet@example.com", "example.com"},
		{`"jane@piet"@example.com`, "jane@piet@example.com", "example.com"},
		{`'jane'@example.com`, "'jane'@example.com", "example.com"},

		{"jane@B\u00dcCHER.example", "jane@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"jane@bu\u0308cher.example", "jane@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"jane@XN--BCHER-KVA.example", "jane@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"jane@\uff45\uff58ample\u3002com", "jane@example.com", "example.com"},
		{"jane@stra\u00dfe.example", "jane@xn--strae-oqa.example", "xn--strae-oqa.example"},
		{"jane@a--b\u00fc.example", "jane@xn--a--b-3ra.example", "xn--a--b-3ra.example"},
		{"jane@\U0001f4a9.example", "jane@xn--ls8h.example", "xn--ls8h.example"},
		{"JAN\u00c9@example.com", "jan\u00e9@example.com", "example.com"},
		{"jane\u0301@example.com", "jan\u00e9@example.com", "example.com"},

		{"jane@[192.0.2.1]", "jane@[192.0.2.1]", "[192.0.2.1]"},
		{"jane@[IPv6:2001:DB8::1]", "jane@[ipv6:2001:db8::1]", "[ipv6:2001:db8::1]"},
		{"jane@[not one]", "jane@[not one]", ""},

		{"Jane", "jane", ""},
		{"jane@", "jane@", ""},
		{"@", "@", ""},
		{"jane@acme..example", "jane@acme..example", ""},
		{"jane@acme.example/bob", "jane@acme.example/bob", ""},
		{"jane@" + long, "jane@" + long, long},
		{"jane@" + long + "b", "jane@" + long + "b", ""},
		{"jane@" + label + "a.example", "jane@" + label + "a.example", ""},
		{"jane@" + strings.Repeat("\u00fc", 2048), "jane@" + strings.Repeat("\u00fc", 2048), ""},
	} {
		e := mustForm(t, "id=1&recipient="+encodeForm(tc.recipient))
		assert.Equal(t, []string{tc.recipient, tc.address, tc.domain}, []string{e.Recipient, e.Address, e.Domain})
	}
}
