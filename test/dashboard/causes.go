package main

import (
	"fmt"
	"slices"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

// whoActs says of each cause whose problem it is and what it means.
var whoActs = map[string]string{
	"recipient_unknown":     "List owner: no such mailbox; remove the address",
	"domain_not_found":      "List owner: no such domain, or it takes no mail; remove the address",
	"recipient_inactive":    "List owner: the mailbox is disabled, closed or has moved; remove the address",
	"mailbox_full":          "Nobody: the mailbox is full; remove the address when it stays so",
	"recipient_restricted":  "List owner: the recipient or group takes no mail from you",
	"reputation_block":      "Deliverability: your address, network or domain is blocked",
	"spam_content":          "Author: the message, or a link in it, was taken for spam",
	"virus":                 "Author: malware was found in the message",
	"content_rejected":      "Author: a malformed message, or an attachment or form that is not accepted",
	"message_too_large":     "Author: the message is too large",
	"authentication_failed": "DNS: SPF, DKIM, DMARC or ARC failed or is missing",
	"sender_rejected":       "Sender's set-up: the sender address was refused",
	"reverse_dns":           "DNS: the PTR record or HELO name of the sending host is wrong",
	"policy":                "Ask the receiver: refused for a policy, with nothing more said",
	"rate_limited":          "Slow down: too many messages, connections or recipients in a time",
	"greylisted":            "Nobody: put off on first contact",
	"relay_denied":          "Routing or credentials: the server does not relay for you",
	"tls_required":          "MTA set-up: TLS, or a better one, is asked for, or failed",
	"protocol_error":        "MTA developer: a command or its parameters were refused",
	"connection_failed":     "Network: no session with the server; wait, then look",
	"server_error":          "Nobody: the receiving system is out of order; wait",
	"mail_loop":             "Routing: too many hops, or the route leads back",
	"expired":               "Look at what came before: the sender gave up after its time",
	"suppressed":            "List owner: not sent, since the sender's own list or limit said so",
	"_OTHER":                "Read the description: nothing else shows the cause",
	"overflow":              "Counted past the cardinality limit, without attributes",
}

// actions map each cause to who acts.
func (n *names) actions() []any {
	options := map[string]dashboard.ValueMappingResult{}
	for i, cause := range append(slices.Sorted(slices.Values(smtpstatus.CauseNames())), "overflow") {
		text, ok := whoActs[cause]
		if !ok {
			n.fail("nothing says who acts on the cause %s", cause)
		}
		options[cause] = dashboard.ValueMappingResult{Text: &text, Index: new(int32(i))}
	}
	for cause := range whoActs {
		if _, ok := options[cause]; !ok {
			n.fail("no cause is %s", cause)
		}
	}
	return []any{dashboard.ValueMap{Type: dashboard.MappingTypeValueToText, Options: options}}
}

// copied returns an expression whose series have a label's value in another label too, for a column
// of its own.
func copied(expr, label, to string) string {
	return fmt.Sprintf(`label_replace(%s, %q, "$1", %q, "(.+)")`, expr, to, label)
}
