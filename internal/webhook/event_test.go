package webhook

import (
	"strings"
	"testing"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

func TestSummary(t *testing.T) {
	for _, tc := range []struct{ body, want string }{
		{"id=1&code=550&extended=5.1.1&state=rcptto", "550 5.1.1 recipient_unknown rcptto"},
		{"state=rcptto&extended=5.1.1&code=550&id=1", "550 5.1.1 recipient_unknown rcptto"},
		{"id=1&code=421&state=data", "421 server_error data"},
		{"id=1&extended=4.2.2", "4.2.2 mailbox_full"},
		{"id=1&state=dns", "connection_failed dns"},
		{"id=1&code=55x&extended=5.1&state=bounce", "_OTHER bounce"}, // what cannot be read may be any text
		{"id=1&recipient=a@b.example&action=failed", "_OTHER"},
	} {
		r := mustForm(t, tc.body)
		if got := r.Summary(); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.body, got, tc.want)
		}
	}
}

// Whatever a sender puts into code, extended and state.
func TestSummaryIsOneLine(t *testing.T) {
	for _, body := range []string{
		"id=1&code=550%0A551",
		"id=1&extended=5.1.1%0D%0A5.1.2",
		"id=1&state=data%0Adns",
		"id=1&code[]=550&code[]=551",
		"id=1&extended[]=5.1.1&extended[]=5.1.2",
		"id=1&state=a%00b",
	} {
		r := mustForm(t, body)
		if got := r.Summary(); strings.ContainsAny(got, "\r\n\x00") {
			t.Errorf("%s: %q", body, got)
		}
	}
}

func TestAsynchronous(t *testing.T) {
	for state, want := range map[string]bool{"bounce": true, "": false, "rcptto": false, "unknown": false, "bounced": false} {
		r := mustForm(t, "id=1&state="+state)
		if got := r.Asynchronous; got != want {
			t.Errorf("state %q: %t, want %t", state, got, want)
		}
	}
}

// The tables are smtpstatus's; here is that they are asked the right things.
func TestClassAndCauseAreThoseOfTheStatus(t *testing.T) {
	for _, tc := range []struct{ body, class, cause string }{
		{"id=1&code=550&extended=5.1.1&state=rcptto", smtpstatus.ClassPermanent, "recipient_unknown"},
		{"id=1&code=550&extended=4.2.2", smtpstatus.ClassTransient, "mailbox_full"}, // the enhanced status wins
		{"id=1&code=421", smtpstatus.ClassTransient, "server_error"},
		{"id=1&code=550&description=Over+quota", smtpstatus.ClassPermanent, "mailbox_full"},
		{"id=1&state=dns", smtpstatus.ClassUnknown, "connection_failed"},
		{"id=1&state=bounce", smtpstatus.ClassUnknown, smtpstatus.Other},
		{"id=1", smtpstatus.ClassUnknown, smtpstatus.Other},
		{"id=1&code=none&extended=none&state=connect", smtpstatus.ClassUnknown, "connection_failed"}, // what cannot be read says nothing
		{"id=1&code[]=550&extended[]=5.1.1", smtpstatus.ClassUnknown, smtpstatus.Other},
	} {
		r := mustForm(t, tc.body)
		if class, cause := r.Class, r.Cause; class != tc.class || cause != tc.cause {
			t.Errorf("%s: %s %s, want %s %s", tc.body, class, cause, tc.class, tc.cause)
		}
	}
}
