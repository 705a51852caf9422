package webhook

import (
	"errors"
	"strings"
	"testing"
)

func TestKinds(t *testing.T) {
	all := Decoder{Also: []Kind{Delivery}}
	for _, tc := range []struct {
		body string
		kind Kind
		text string // of the error
	}{
		{body: "", kind: Failure},
		{body: "action=failure", kind: Failure},
		{body: "action=+FAILED%0A", kind: Failure},
		{body: "type=failure&action=create", kind: Failure},
		{body: "type=%EF%BC%A6ailure", text: "type is not failure"},
		{body: "type=Delivery+", kind: Delivery},
		{body: "type=delivery&action=create", kind: Delivery},
		{body: "action=create", text: "action is create"},
		{body: "action=Update+", text: "action is update"},
		{body: "action=delete&type=", text: "action is delete"},
		{body: "action=delivery", text: "action is neither failure nor failed"},
		{body: "action[]=failed", text: "action is neither failure nor failed"},
		{body: "action=quux", text: "action is neither failure nor failed"},
		{body: "type=quux", text: "type is not failure"},
		{body: "type=BOUNCE", text: "type is bounce"},
		{body: "type=unsubscribe", text: "type is unsubscribe"},
		{body: "type=failure&type=open", text: "type is open"},
	} {
		e, err := all.Form(Call{Arrived: arrived, Body: "id=1&" + tc.body})
		switch {
		case tc.text == "" && (err != nil || e.Kind != tc.kind):
			t.Errorf("%s: %+v, error %v; want a %s", tc.body, e, err, tc.kind)
		case tc.text != "" && (!errors.Is(err, ErrOtherWebhook) || !strings.Contains(err.Error(), tc.text) || strings.Contains(err.Error(), "quux")):
			t.Errorf("%s: error %v, want %q", tc.body, err, tc.text)
		}
	}

	var failures Decoder
	var notTaken *NotAcceptedError
	if _, err := failures.Form(Call{Arrived: arrived, Body: "type=delivery&id=1"}); !errors.As(err, &notTaken) || notTaken.Kind != Delivery {
		t.Errorf("a delivery that is not taken: %v", err)
	}
	failed, err := all.Form(Call{Arrived: arrived, Body: "type=failure&id=1"})
	delivered, deliveredErr := all.Form(Call{Arrived: arrived, Body: "type=delivery&id=1"})
	if err != nil || deliveredErr != nil || failed.Identity == delivered.Identity {
		t.Errorf("a failure and a delivery have one identity (%v, %v)", err, deliveredErr)
	}
}
