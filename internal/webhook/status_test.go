package webhook

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

// Where a status stands, and how it is written, decides nothing.
func TestStatus(t *testing.T) {
	none := smtpstatus.Enhanced{}
	for _, tc := range []struct {
		code, extended, description string
		wantCode                    int
		want                        smtpstatus.Enhanced
		anomalies                   []string
	}{
		{code: "0", wantCode: 0, want: none},
		{code: "000", extended: "0", wantCode: 0, want: none},
		{code: "0.0", wantCode: 0, want: none},
		{code: " 550\r\n", wantCode: 550, want: none},
		{code: "550.", wantCode: 550, want: none},
		{code: "550.00", wantCode: 550, want: none},
		{code: "55e1", wantCode: 550, want: none},
		{code: "0.55E+3", wantCode: 550, want: none},
		{code: "(550)", wantCode: 550, want: none},
		{code: "550 Requested action not taken", wantCode: 550, want: none},
		{code: "smtp; 550", wantCode: 550, want: none},

		{extended: "5.1.1", wantCode: 0, want: badMailbox},
		{extended: "#5.1.1", wantCode: 0, want: badMailbox},
		{extended: "<#5.1.1>", wantCode: 0, want: badMailbox},
		{extended: "(#5.1.1)", wantCode: 0, want: badMailbox},
		{extended: "[5.1.1]", wantCode: 0, want: badMailbox},
		{extended: `"5.1.1"`, wantCode: 0, want: badMailbox},
		{extended: "5.1.1.", wantCode: 0, want: badMailbox},
		{extended: "5.1.1;", wantCode: 0, want: badMailbox},
		{extended: "5.1.1 (bad destination mailbox address)", wantCode: 0, want: badMailbox},
		{extended: "5.1.1: unknown", wantCode: 0, want: badMailbox},
		{extended: "550 5.1.1", wantCode: 550, want: badMailbox},
		{extended: "550-5.1.1", wantCode: 550, want: badMailbox},
		{extended: "550 #5.1.1 User unknown", wantCode: 550, want: badMailbox},
		{extended: "550", wantCode: 550, want: none},

		{code: "5.1.1", wantCode: 0, want: badMailbox},
		{code: "#5.1.1", wantCode: 0, want: badMailbox},
		{code: "550 5.1.1", wantCode: 550, want: badMailbox},
		{code: "5.1.1", extended: "550", wantCode: 550, want: badMailbox},
		{code: "550", extended: "550", wantCode: 550, want: none},
		{code: "550", extended: "550 5.1.1", wantCode: 550, want: badMailbox},
		{code: "550 5.1.1", extended: "5.1.1", wantCode: 550, want: badMailbox},

		// Told twice, and not the same.
		{code: "550", extended: "554 5.1.1", wantCode: 550, want: badMailbox, anomalies: []string{"extended"}},
		{code: "550 5.7.1", extended: "5.1.1", wantCode: 550, want: badMailbox, anomalies: []string{"code"}},
		{code: "none", extended: "550 5.1.1", wantCode: 550, want: badMailbox, anomalies: []string{"code"}},

		{description: "550 5.1.1 User unknown", wantCode: 550, want: badMailbox},
		{description: "550-5.7.26-This mail is not authenticated", wantCode: 550, want: enhanced(5, 7, 26)},
		{description: "550 5.7.26 This mail", extended: "5.1.1", wantCode: 550, want: badMailbox},
		{description: "550 5.1.1 User unknown", code: "554", wantCode: 554, want: badMailbox},
		{description: "smtp; 550 5.1.1 User unknown", wantCode: 550, want: badMailbox},
		{description: "SMTP ;550 5.1.1 User unknown", wantCode: 550, want: badMailbox},
		{description: "x-postfix; 4.4.1 no route to host", wantCode: 0, want: enhanced(4, 4, 1)},
		{description: "421 too many connections", wantCode: 421, want: none},
		{description: "421-4.7.0\r\n421 4.7.0 try later", wantCode: 421, want: enhanced(4, 7, 0)},
		{description: "#5.1.1", wantCode: 0, want: badMailbox},
		{description: "5.1.1", wantCode: 0, want: badMailbox},
		{description: "<550 5.1.1>", wantCode: 550, want: badMailbox},

		// These begin with something else.
		{description: "", wantCode: 0, want: none},
		{description: "User unknown (550 5.1.1)", wantCode: 0, want: none},
		{description: "5501 messages", wantCode: 0, want: none},
		{description: "550th attempt", wantCode: 0, want: none},
		{description: "550@example.com is unknown", wantCode: 0, want: none},
		{description: "550.1 is too much", wantCode: 0, want: none},
		{description: "550\u00e9", wantCode: 0, want: none},
		{description: "5.1.1.2 is listed", wantCode: 0, want: none},
		{description: "5.1.1rc2 crashed", wantCode: 0, want: none},
		{description: "250 2.1.5 OK", wantCode: 0, want: none},
		{description: "999 bottles", wantCode: 0, want: none},
		{description: "who knows; 550 5.1.1", wantCode: 550, want: badMailbox},
		{description: "see https://example.com/; 550 5.1.1", wantCode: 0, want: none},
		{description: "a diagnostic type has never been this long; 550 5.1.1", wantCode: 0, want: none},
	} {
		e := mustForm(t, url.Values{"id": {"1"}, "code": {tc.code}, "extended": {tc.extended}, "description": {tc.description}}.Encode())
		if e.Code != tc.wantCode || e.Extended != tc.want || !cmp.Equal(e.Anomalies, tc.anomalies) {
			t.Errorf("code %q, extended %q, description %q: %d %v %v, want %d %v %v",
				tc.code, tc.extended, tc.description, e.Code, e.Extended, e.Anomalies, tc.wantCode, tc.want, tc.anomalies)
		}
		if class := smtpstatus.Class(e.Extended, e.Code); e.Class != class {
			t.Errorf("code %q, extended %q, description %q: class %s, want %s", tc.code, tc.extended, tc.description, e.Class, class)
		}
		if len(e.Variables) != len(tc.anomalies) {
			t.Errorf("code %q, extended %q: kept %v", tc.code, tc.extended, e.Variables)
		}
	}
}

// A delivery is not searched for why it failed.
func TestDeliveryHasNoCause(t *testing.T) {
	d := Decoder{Also: []Kind{Delivery}}
	e, err := d.Form(Call{Arrived: arrived, Body: "id=1&type=Delivery&description=550+5.1.1+User+unknown&tags[]=news"})
	if err != nil {
		t.Fatal(err)
	}
	want := Event{Kind: Delivery, ID: "1", Type: "delivery", Description: "550 5.1.1 User unknown", Tags: []string{"news"}}
	if diff := cmp.Diff(want, *e, visible); diff != "" || e.Cause != "" || e.Class != "" {
		t.Errorf("cause %q, class %q (-want +got):\n%s", e.Cause, e.Class, diff)
	}
}
