package webhook

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

// Where a status stands, and how it is written, decides nothing.
func TestStatus(t *testing.T) {
	testCases(t, []decodeCase{
		{"id=1&code=999", "code=999"},
		{"id=1&code=0", ""},
		{"id=1&code=000&extended=0", ""},
		{"id=1&code= 550\r\n", "code=550"},
		{"id=1&code=550.", "code=550"},
		{"id=1&code=550.00", "code=550"},
		{"id=1&code=55e1", "code=550"},
		{"id=1&code=0.55E%2B3", "code=550"},
		{"id=1&code=550 Requested action not taken", "code=550"},
		{"id=1&code=smtp; 550", "code=550"},

		{"id=1&extended=4.7.999", "extended=4.7.999"},
		{"id=1&extended=#5.1.1", "extended=5.1.1"},
		{"id=1&extended=[5.1.1]", "extended=5.1.1"},
		{`id=1&extended="5.1.1"`, "extended=5.1.1"},
		{"id=1&extended=5.1.1.", "extended=5.1.1"},
		{"id=1&extended=5.1.1 (bad destination mailbox address)", "extended=5.1.1"},
		{"id=1&extended=550 5.1.1", "code=550 extended=5.1.1"},
		{"id=1&extended=550-5.1.1", "code=550 extended=5.1.1"},
		{"id=1&extended=550", "code=550"},

		{"id=1&code=5.1.1", "extended=5.1.1"},
		{"id=1&code=550 5.1.1", "code=550 extended=5.1.1"},
		{"id=1&code=5.1.1&extended=550", "code=550 extended=5.1.1"},
		{"id=1&code=550&extended=550 5.1.1", "code=550 extended=5.1.1"},

		// What is sent twice and differs is kept.
		{"id=1&code=550&extended=554 5.1.1", `code=550 extended=5.1.1 extended="554 5.1.1" !extended`},
		{"id=1&code=550 5.7.1&extended=5.1.1", `code=550 extended=5.1.1 code="550 5.7.1" !code`},
		{"id=1&code=none&extended=550 5.1.1", `code=550 extended=5.1.1 code="none" !code`},
	}, decodeForm)
}

func TestStatusInDescription(t *testing.T) {
	for _, tc := range []struct {
		sent, description string
		code              int
		extended          string
	}{
		{"", "550 5.1.1 User unknown", 550, "5.1.1"},
		{"", "550-5.7.26-This mail is not authenticated", 550, "5.7.26"},
		{"extended=5.1.1", "550 5.7.26 This mail", 550, "5.1.1"},
		{"code=554", "550 5.1.1 User unknown", 554, "5.1.1"},
		{"", "smtp; 550 5.1.1 User unknown", 550, "5.1.1"},
		{"", "x-postfix; 4.4.1 no route to host", 0, "4.4.1"},
		{"", "421 too many connections", 421, ""},
		{"", "421-4.7.0\r\n421 4.7.0 try later", 421, "4.7.0"},
		{"", "who knows; 550 5.1.1", 550, "5.1.1"},
		{"", "the longest type of all; 550", 550, ""},

		// These begin with something else.
		{"", "", 0, ""},
		{"", "User unknown (550 5.1.1)", 0, ""},
		{"", "5501 messages", 0, ""},
		{"", "550th attempt", 0, ""},
		{"", "550@example.com is unknown", 0, ""},
		{"", "550.1 is too much", 0, ""},
		{"", "550\u00e9", 0, ""},
		{"", "5.1.1.2 is listed", 0, ""},
		{"", "5.1.1rc2 crashed", 0, ""},
		{"", "250 2.1.5 OK", 0, ""},
		{"", "999 bottles", 0, ""},
		{"", "see https://example.com/; 550 5.1.1", 0, ""},
		{"", "the longest types of all; 550", 0, ""},
	} {
		e := mustForm(t, "id=1&"+tc.sent+"&description="+encodeForm(tc.description))
		assert.Equal(t, tc.code, e.Code, "%+v", tc)
		assert.Equal(t, tc.extended, e.Extended.String(), "%+v", tc)
		assert.Equal(t, smtpstatus.Class(e.Extended, e.Code), e.Class, "%+v", tc)
		assert.Empty(t, e.Anomalies, "%+v", tc)
	}
}
