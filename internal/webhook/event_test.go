package webhook

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

// The tables are smtpstatus's; here is that they are asked the right things.
func TestClassCauseAndSummary(t *testing.T) {
	const permanent, transient, unknown = smtpstatus.ClassPermanent, smtpstatus.ClassTransient, smtpstatus.ClassUnknown
	for _, tc := range []struct{ body, class, summary string }{
		{"code=550&extended=5.1.1&state=rcptto", permanent, "550 5.1.1 recipient_unknown rcptto"},
		{"code=550&extended=4.2.2", transient, "550 4.2.2 mailbox_full"}, // the enhanced status wins
		{"code=421&state=data", transient, "421 server_error data"},
		{"code=550&description=Over+quota", permanent, "550 mailbox_full"},
		{"state=dns", unknown, "connection_failed dns"},
		{"code=55x&extended=5.1&state=Bounce", unknown, "_OTHER bounce"}, // what cannot be read may be any text
		{"code=none&extended=none&state=connect", unknown, "connection_failed connect"},
		{"code[]=550&extended[]=5.1.1", unknown, "_OTHER"},
		{"recipient=a@b.example&action=failed", unknown, "_OTHER"},
		// One line whatever is sent.
		{"code=550%0A551&extended=5.1.1%0D%0A5.1.2", permanent, "550 5.1.1 recipient_unknown"},
		{"state=data%0Adns%00x", unknown, "_OTHER data dns x"},
	} {
		e := mustForm(t, "id=1&"+tc.body)
		assert.Equal(t, tc.class, e.Class, tc.body)
		assert.Equal(t, tc.summary, e.Summary(), tc.body)
		assert.Equal(t, e.State == "bounce", e.Mode == ModeAsynchronous, tc.body)
	}
}

func TestKinds(t *testing.T) {
	all := Decoder{Also: []Kind{Delivery}}
	for _, tc := range []struct {
		body string
		kind Kind
		err  string // begins with
	}{
		{body: "", kind: Failure},
		{body: "action=failure", kind: Failure},
		{body: "action=+FAILED%0A", kind: Failure},
		{body: "type=%09Failure+%0D%0A&action=create", kind: Failure},
		{body: "type=bounce&type=failure", kind: Failure},
		{body: "type=%EF%BC%A6ailure", err: "type is not failure"},
		{body: "type[]=failure", err: "type is not failure"},
		{body: "type[k]=bounce", err: "type is not failure"},
		{body: "type=failure&type[]=failure", err: "type is not failure"},
		{body: "type=quux", err: "type is not failure"},
		{body: "type=BOUNCE", err: "type is bounce"},
		{body: "type=failure&type=open", err: "type is open"},
		{body: "type=Delivery+&action=create", kind: Delivery},
		{body: "action=create", err: "there is no type, and action is create"},
		{body: "action=delete&type=", err: "there is no type, and action is delete"},
		{body: "action=quux", err: "there is no type, and action is neither failure nor failed"},
	} {
		e, err := all.Form(Call{Arrived: arrived, Body: "id=1&" + tc.body})
		if tc.err != "" {
			require.ErrorIs(t, err, ErrOtherWebhook, tc.body)
			assert.Regexp(t, "^"+tc.err+": ", err.Error(), tc.body)
			continue
		}
		require.NoError(t, err, tc.body)
		assert.Equal(t, tc.kind, e.Kind, tc.body)
	}

	_, err := decodeForm("type=delivery&id=1")
	var notAccepted *NotAcceptedError
	require.ErrorAs(t, err, &notAccepted)
	assert.Equal(t, Delivery, notAccepted.Kind)
	assert.ErrorContains(t, err, "delivery")
}

// A delivery is not searched for why it failed.
func TestDeliveryHasNoCause(t *testing.T) {
	d := Decoder{Also: []Kind{Delivery}}
	e, err := d.Form(Call{Arrived: arrived, Body: "id=1&type=Delivery&description=550+5.1.1+User+unknown&tags[]=news"})
	assert.Equal(t, `type="delivery" description="550 5.1.1 User unknown" tags=["news"]`, describe(e, err))
	assert.Empty(t, e.Cause+e.Class)
}
